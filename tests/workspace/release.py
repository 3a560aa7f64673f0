"""Prepare a release: ``python tests/workspace/release.py VERSION`` (needs what release.txt lists).

One command, in a clean clone: it writes the version and the == pins of all distributions, collects the changelog, builds
everything twice and compares the bytes, checks what was built (check_dists.py), leaves it in dist/, and prints the order in
which it is published: siblings before those that pin them. It commits, tags and publishes nothing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((a|b|rc)(0|[1-9]\d*))?")
VERSION_LINE = re.compile(r'^(version = ")[^"]+(")$', re.MULTILINE)
PIN = re.compile(r'("(rdzv[a-z-]*)==)[^"]+(")')
NAME_LINE = re.compile(r'^name = "([^"]+)"$', re.MULTILINE)


def main(arguments: list[str] | None = None) -> None:
    """Bump, collect, build, check, and say what is next."""
    parser = argparse.ArgumentParser(description="Prepare a release. Commits, tags and publishes nothing.")
    parser.add_argument("version", type=_version)
    parser.add_argument("--date", type=dt.date.fromisoformat, default=dt.datetime.now(dt.timezone.utc).date())
    options = parser.parse_args(arguments)
    if _output("git", "status", "--porcelain"):
        raise SystemExit("the tree has changes that are not committed; a release starts from a clean one")
    files = sorted((ROOT / "packages").glob("*/pyproject.toml"))
    collect_changelog(options.version, options.date)
    for file in files:
        file.write_text(bumped(file.read_text(encoding="utf-8"), options.version), encoding="utf-8", newline="\n")
    build()
    print(f"\nChanged: {', '.join(_output('git', 'diff', '--name-only', 'HEAD').split())}")
    print(f"Commit this, tag it v{options.version}, push the tag. Publish from dist/ in this order:")
    for name in publish_order({file.parent.name: file.read_text(encoding="utf-8") for file in files}):
        for built in sorted(DIST.glob(f"{name.replace('-', '_')}-{options.version}[-.]*")):
            print(f"  {built.name}")


def _version(text: str) -> str:
    if not VERSION.fullmatch(text):
        raise ValueError(text)
    return text


_version.__name__ = "version"  # as argparse names it in its errors


def bumped(project: str, version: str) -> str:
    """A pyproject.toml with this version, and the siblings pinned to it."""
    project, count = VERSION_LINE.subn(rf"\g<1>{version}\g<2>", project)
    if count != 1:
        raise SystemExit(f"a pyproject.toml has {count} version lines")
    return PIN.sub(rf"\g<1>{version}\g<3>", project)


def collect_changelog(version: str, date: dt.date) -> None:
    """Date the section that is written already, or make one of the fragments."""
    changelog = ROOT / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    fragments = [file for file in (ROOT / "changelog.d").glob("*.md") if file.name != "README.md"]
    unreleased = f"## {version} (unreleased)"
    if unreleased in text:
        if fragments:
            raise SystemExit(f"'{unreleased}' is written, and there are fragments: {', '.join(f.name for f in fragments)}")
        changelog.write_text(text.replace(unreleased, f"## {version} ({date})"), encoding="utf-8", newline="\n")
    elif not fragments:
        raise SystemExit("nothing to release: changelog.d has no fragment")
    else:
        _run(sys.executable, "-m", "towncrier", "build", "--yes", "--version", version, "--date", str(date))


def build() -> None:
    """What check_dists.py has built twice and found equal and right, to dist/."""
    with tempfile.TemporaryDirectory() as work:
        _run(sys.executable, str(Path(__file__).with_name("check_dists.py")), work)
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(Path(work) / "check" / "first" / "dist", DIST)


def publish_order(projects: dict[str, str]) -> list[str]:
    """The names, each after all that it pins: who installs in the middle of a release finds everything."""
    pins = {NAME_LINE.findall(text)[0]: {found[1] for found in PIN.findall(text)} for text in projects.values()}
    order: list[str] = []
    while len(order) < len(pins):
        ready = sorted(name for name in pins if name not in order and pins[name] <= set(order))
        if not ready:
            raise SystemExit("the distributions pin each other in a circle")
        order += ready
    return order


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
