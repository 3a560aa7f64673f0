"""Metadata is written out in every distribution; what must be equal is."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest

Projects = dict[str, dict[str, Any]]

LEAVES = {"rdzv-config", "rdzv-endpoint", "rdzv-hostmatch", "rdzv-scheduler", "rdzv-timer"}
SIBLINGS = {"rdzv": LEAVES, "rdzv-torchrun": {"rdzv-endpoint", "rdzv-hostmatch"}}


def test_the_distributions_are_the_seven(projects: Projects) -> None:
    """A folder is a distribution, under its own name, with one package in it."""
    assert set(projects) == LEAVES | set(SIBLINGS)
    for folder, project in projects.items():
        package = folder.replace("-", "_")
        assert project["project"]["name"] == folder
        assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/{package}"]


@pytest.mark.parametrize("key", ["version", "requires-python", "license", "license-files", "readme", "authors", "urls"])
def test_what_the_distributions_share_is_equal(projects: Projects, key: str) -> None:
    """One version in lockstep, one licence, one range of Pythons; no urls, until the repository has a home."""
    first, *others = (project["project"].get(key) for project in projects.values())
    assert all(other == first for other in others)


def test_the_classifiers_are_equal_but_for_the_pythons_of_rdzv_torchrun(root: Path, projects: Projects) -> None:
    """Its tests need PyTorch, so they run on one CPython, the first that tox.ini names for them: it claims no other."""
    claims = {folder: project["project"]["classifiers"] for folder, project in projects.items()}
    narrow = claims.pop("rdzv-torchrun")
    first, *others = claims.values()
    assert all(other == first for other in others)
    tested_on = re.search(r"^base_python = python([\d.]+)", (root / "tox.ini").read_text(encoding="utf-8"), re.MULTILINE)
    assert tested_on
    pythons = ("3", "3 :: Only", tested_on[1], "Implementation :: CPython")
    assert narrow == [line for line in first if "Python" not in line or line.partition("Python :: ")[2] in pythons]


def test_they_are_built_alike(projects: Projects) -> None:
    """One build system, with one lower bound."""
    first, *others = (project["build-system"] for project in projects.values())
    assert all(other == first for other in others)


def test_leaves_depend_on_nothing_and_the_others_on_siblings_of_their_version(projects: Projects) -> None:
    """No third party, and == pins: a mix of versions was never tested."""
    for folder, project in projects.items():
        metadata = project["project"]
        assert metadata["dependencies"] == [
            f"{sibling}=={metadata['version']}" for sibling in sorted(SIBLINGS.get(folder, set()))
        ]
    metadata = projects["rdzv"]["project"]
    assert metadata["optional-dependencies"] == {"torchrun": [f"rdzv-torchrun=={metadata['version']}"]}


def test_an_sdist_has_the_tests_of_its_distribution(root: Path, projects: Projects) -> None:
    """By a link beside its pyproject.toml: a path above that does not exist in the unpacked sdist, where a build would fail."""
    for folder, project in projects.items():
        tests = ["tests/conftest.py", f"tests/{folder.removeprefix('rdzv-')}"]
        shared = [name for name in ("share",) if (root / "packages" / folder / name).exists()]
        assert project["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"] == [*shared, "src", *tests]
        assert (root / "packages" / folder / "tests").readlink() == Path("../../tests")
        assert all((root / path).exists() for path in tests)


def test_the_changelog_has_an_entry_for_the_version(root: Path, projects: Projects) -> None:
    """Nothing is published without it."""
    version = projects["rdzv"]["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}\b", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_distribution_is_complete(root: Path, projects: Projects) -> None:
    """Its own README, the one licence, and the mark that it is typed."""
    licence = (root / "LICENSE").read_bytes()
    for folder in projects:
        home = root / "packages" / folder
        assert (home / "LICENSE").read_bytes() == licence
        assert (home / "README.md").read_text(encoding="utf-8").startswith(f"# {folder}\n")
        assert (home / "src" / folder.replace("-", "_") / "py.typed").read_bytes() == b""


def test_the_matrix_has_every_python_that_the_classifiers_name(root: Path, projects: Projects) -> None:
    """Classifiers, requires-python and tox.ini tell one story."""
    metadata = projects["rdzv"]["project"]
    minors = sorted(int(found[1]) for line in metadata["classifiers"] if (found := re.search(r":: 3\.(\d+)$", line)))
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(root / "tox.ini", encoding="utf-8")
    environments = tox["tox"]["env_list"]
    parts = "{endpoint,config,hostmatch,timer,scheduler,rdzv}"
    assert f"py{{{','.join(f'3{minor}' for minor in minors)}}}-{parts}" in environments
    assert f"pypy311-{parts}" in environments
    assert f"py313t-{parts}" in environments
    assert metadata["requires-python"] == f">=3.{minors[0]}"
