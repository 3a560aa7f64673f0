"""The tools are named in several files, since each reads its own; what they say agrees. What they offer is described."""

from __future__ import annotations

import configparser
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# On purpose: PyTorch is tried in its newest and its oldest version.
SEVERAL = {"torch"}


def requirements(root: Path) -> Iterator[Requirement]:
    """All third-party ones of tox.ini, hatch.toml, the pre-commit hooks, the release, and the tests of an sdist."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(root / "tox.ini", encoding="utf-8")
    lines = [re.sub(r"^[\w!-]+: ", "", line) for name in tox.sections() for line in tox[name].get("deps", "").splitlines()]
    lines += (root / "tests" / "workspace" / "release.txt").read_text(encoding="utf-8").splitlines()
    hatch = tomllib.loads((root / "hatch.toml").read_text(encoding="utf-8"))
    lines += [line for environment in hatch["envs"].values() for line in environment["dependencies"]]
    hooks = (root / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    lines += re.findall(r"additional_dependencies: \[(.*)\]", hooks)
    for project in (root / "packages").glob("*/pyproject.toml"):
        lines += tomllib.loads(project.read_text(encoding="utf-8"))["dependency-groups"]["test"]
    # The others are folders, references and comments.
    return (Requirement(line) for line in lines if line[:1].isalpha())


def test_a_tool_has_one_range_of_versions_wherever_it_is_named(root: Path) -> None:
    """What passes here passes in CI, in a hook, and in hatch's environments."""
    ranges = defaultdict(set)
    for requirement in requirements(root):
        ranges[requirement.name].add(str(requirement.specifier))
    assert {"ruff", "zizmor", "hypothesis", "build"} <= set(ranges)
    assert {name: found for name, found in ranges.items() if len(found) > 1 and name not in SEVERAL} == {}


def test_hatch_installs_for_a_release_what_the_release_lists(root: Path) -> None:
    """An environment of hatch reads no requirements files."""
    hatch = tomllib.loads((root / "hatch.toml").read_text(encoding="utf-8"))
    _, *lines = (root / "tests" / "workspace" / "release.txt").read_text(encoding="utf-8").splitlines()
    assert hatch["envs"]["release"]["dependencies"] == lines


def test_every_tox_environment_says_what_it_is(root: Path) -> None:
    """`tox list` reads as a menu."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(root / "tox.ini", encoding="utf-8")
    sections = [name for name in tox.sections() if name.startswith("testenv") and not name.startswith("testenv:.")]
    assert all(tox[name]["description"].strip() for name in sections)


def test_every_hatch_script_is_described_by_its_environment(root: Path) -> None:
    """`hatch env show` reads as a menu; it shows no other descriptions."""
    for environment in tomllib.loads((root / "hatch.toml").read_text(encoding="utf-8"))["envs"].values():
        described = re.findall(r"^([\w-]+): ", environment["description"], re.MULTILINE)
        assert described == sorted(environment.get("scripts", {}))
