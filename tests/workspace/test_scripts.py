"""The scripts of this folder, as far as they can be tried without a build and without a network."""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def load(script: Path) -> Any:
    """A script as a module; it works in the tree that it stands in."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def release(tmp_path: Path) -> Any:
    """release.py in a tree of its own, with one version of two sections in its changelog, and no fragments."""
    (tmp_path / "tests" / "workspace").mkdir(parents=True)
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 9.1.0 (unreleased)\n\n- New.\n", encoding="utf-8")
    return load(Path(shutil.copy(HERE / "release.py", tmp_path / "tests" / "workspace")))


def test_a_bump_changes_the_version_and_the_pins_and_nothing_else(release: Any, projects: dict[str, Any], root: Path) -> None:
    """In every distribution, and back."""
    for folder, project in projects.items():
        version = project["project"]["version"]
        text = (root / "packages" / folder / "pyproject.toml").read_text(encoding="utf-8")
        bumped = release.bumped(text, "9.1.0rc1")
        assert bumped.count("9.1.0rc1") == 1 + text.count(f"=={version}")
        assert release.bumped(bumped, version) == text


def test_siblings_are_published_before_those_that_pin_them(release: Any, projects: dict[str, Any], root: Path) -> None:
    """Whoever installs in the middle of a release finds everything."""
    texts = {name: (root / "packages" / name / "pyproject.toml").read_text(encoding="utf-8") for name in projects}
    order = release.publish_order(texts)
    assert sorted(order) == sorted(projects)
    assert order[5:] == ["rdzv-torchrun", "rdzv"]


def test_the_workflow_publishes_in_that_order(release: Any, projects: dict[str, Any], root: Path, tmp_path: Path) -> None:
    """Each distribution in a later step than all that it pins."""
    workflow = (root / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    (sort,) = re.findall(r"^ +mkdir (?:.+\n +mv )+.+$", workflow, re.MULTILINE)
    steps = re.findall(r"packages-dir: dist/(\w+)", workflow)
    dist = tmp_path / "dist"
    dist.mkdir()
    for name in projects:
        (dist / f"{name.replace('-', '_')}-9.1.0.tar.gz").touch()
    subprocess.run(sort, shell=True, check=True, cwd=dist)
    step_of = {file.name.partition("-")[0].replace("_", "-"): steps.index(file.parent.name) for file in dist.glob("*/*")}
    assert set(step_of) == set(projects)
    for name in projects:
        pins = release.PIN.findall((root / "packages" / name / "pyproject.toml").read_text(encoding="utf-8"))
        assert all(step_of[sibling] < step_of[name] for _, sibling, _ in pins)


def test_a_written_section_of_the_changelog_is_dated(release: Any, tmp_path: Path) -> None:
    """The one of this version; nothing else changes."""
    release.collect_changelog("9.1.0", dt.date(2030, 1, 2))
    text = (tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text == "# Changelog\n\n## 9.1.0 (2030-01-02)\n\n- New.\n"


@pytest.mark.parametrize(
    ("version", "fragment", "message"),
    [("9.1.0", "1.added.md", "there are fragments: 1.added.md"), ("9.2.0", "README.md", "nothing to release")],
)
def test_a_release_without_one_clear_changelog_stops(
    release: Any, tmp_path: Path, version: str, fragment: str, message: str
) -> None:
    """A section and fragments at once, or neither."""
    (tmp_path / "changelog.d" / fragment).touch()
    with pytest.raises(SystemExit, match=message):
        release.collect_changelog(version, dt.date(2030, 1, 2))


def test_ci_has_each_default_environment_of_tox_in_one_job() -> None:
    """All but coverage, which combines what ran on one machine."""
    script = load(HERE / "list_ci_jobs.py")
    listed = script.environments()
    tests, checks = script.tests(listed), script.checks(listed)
    assert sorted([*",".join(job["environments"] for job in tests).split(","), *checks, "coverage"]) == sorted(listed)
    assert [job["version"] for job in tests] == ["3.10", "3.11", "3.12", "3.13", "3.14", "3.15", "pypy3.11", "3.13t"]


@pytest.mark.parametrize("change", ["nothing", "rdzv_timer/py.typed", "rdzv_timer-1.dist-info/licenses/LICENSE", "extra.txt"])
def test_a_wheel_has_what_it_must_have_and_nothing_else(tmp_path: Path, root: Path, change: str) -> None:
    """One name taken away, or added, is noticed."""
    source = root / "packages" / "rdzv-timer" / "src"
    names = {file.relative_to(source).as_posix() for file in source.glob("rdzv_timer/*") if file.is_file()}
    names |= {f"rdzv_timer-1.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    with zipfile.ZipFile(tmp_path / "rdzv_timer-1-py3-none-any.whl", "w") as wheel:
        for name in names ^ {change} if change != "nothing" else names:
            wheel.writestr(name, "")
    script = load(HERE / "check_dists.py")
    if change == "nothing":
        script.check_contents(tmp_path / "rdzv_timer-1-py3-none-any.whl")
    else:
        with pytest.raises(SystemExit, match=change):
            script.check_contents(tmp_path / "rdzv_timer-1-py3-none-any.whl")


def test_an_interpreter_counts_only_if_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shims of pyenv come first on PATH, and that of an inactive Python fails."""
    scripts = {"shim": "#!/bin/sh\necho command not found; exit 127\n", "broken": "#!/nonexistent\n", "python": "#!/bin/sh\n"}
    for folder, script in scripts.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "python3.10").write_text(script, encoding="utf-8")
        (tmp_path / folder / "python3.10").chmod(0o755)
    find_python = load(HERE / "check_dists.py").find_python
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / folder) for folder in scripts))
    assert find_python("python3.10") == str(tmp_path / "python" / "python3.10")
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / folder) for folder in ("shim", "broken")))
    assert find_python("python3.10") is None
