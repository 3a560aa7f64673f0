"""Builds all distributions as they would be published, and checks them: ``python check_dists.py FOLDER``.

Each sdist, and the wheel from that sdist. Then the same from the unpacked sdists, in other folders: the bytes must be equal, so
they do not depend on when and where, and nothing is missing that a build needs. Then what is inside (the licence, py.typed, the
sources, the tests, the metadata, nothing else), the size, the metadata as the index would judge it, and an installation of the
set by name from the built files alone, on this Python and on the oldest, the newest and PyPy where PATH has them. Then the
tests of each sdist, in an empty folder, on its installed wheel. Last, what the README tells people to install from a clone.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = Path(__file__).with_name("release.txt")
PACKAGES = sorted(folder for folder in (ROOT / "packages").iterdir() if (folder / "pyproject.toml").exists())
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
LEAVES = ("rdzv_config", "rdzv_endpoint", "rdzv_hostmatch", "rdzv_scheduler", "rdzv_timer")
MOST_BYTES = 20_000  # of a leaf
FURTHER_PYTHONS = ("python3.10", "python3.15", "pypy3.11")
# Any moment will do, as long as it is the same for both builds; this one is the first that a zip file can hold.
MOMENT = "315532800"


def main(work: Path) -> None:
    work /= "check"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(ROOT / "packages", work / "clone" / "packages", symlinks=True)
    shutil.copytree(ROOT / "tests", work / "clone" / "tests")
    first = build_all(work / "clone" / "packages", work / "first" / "dist")
    for sdist in work.glob("first/dist/*.tar.gz"):
        shutil.unpack_archive(sdist, work / "unpacked")
    second = build_all(work / "unpacked", work / "second" / "dist")
    for one, other in zip(first, second, strict=True):
        if one.name != other.name or one.read_bytes() != other.read_bytes():
            raise SystemExit(f"two builds differ: {one.name}")
    for file in first:
        check_contents(file)
    wheels = [file for file in first if file.suffix == ".whl"]
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, first))
    run(sys.executable, "-m", "check_wheel_contents", *map(str, wheels))
    pythons = [sys.executable, *filter(None, map(find_python, FURTHER_PYTHONS))]
    for python in pythons:
        install_by_name(python, work / "venv", first[0].parent, "rdzv[torchrun]")  # pins all the others
        run(str(work / "venv" / SCRIPTS / "python"), "-c", "import rdzv, rdzv.utils")
        run(str(work / "venv" / SCRIPTS / "rdzv"), "check", "localhost:29400", "--quiet")
    for package in PACKAGES:
        run_tests(package.name, work / "venv", first[0].parent)
    install_as_the_readme_says(find_python("python3.10") or sys.executable, work / "venv", work / "clone")
    print(f"{len(first)} files built twice with equal bytes; the largest wheel has {max(map(size, wheels))} bytes")
    print(f"installed by name, offline: {', '.join(Path(python).resolve().name for python in pythons)}")


def build_all(sources: Path, target: Path) -> list[Path]:
    # Here hatchling ends its search of the folders above for a .gitignore, which it would put into the sdist.
    (sources / ".git").mkdir()
    for project in sources.glob("*/pyproject.toml"):
        # An sdist, then a wheel from that sdist; uv makes the build environments, several times faster than pip.
        run(sys.executable, "-m", "build", "--installer=uv", "--outdir", str(target), str(project.parent))
    return sorted(target.iterdir())


def check_contents(file: Path) -> None:
    distribution, version = file.name.removesuffix(".tar.gz").split("-")[:2]
    package = ROOT / "packages" / distribution.replace("_", "-")
    modules = {
        path.relative_to(package / "src").as_posix() for path in package.glob("src/**/*") if path.suffix in (".py", ".typed")
    }
    shared = {path.relative_to(package).as_posix() for path in package.glob("share/**/*") if path.is_file()}
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            names = wheel.namelist()
        metadata = ["METADATA", "RECORD", "WHEEL", "licenses/LICENSE"]
        if re.search(r"^\[project\.(scripts|entry-points)\b", (package / "pyproject.toml").read_text(encoding="utf-8"), re.M):
            metadata.append("entry_points.txt")
        expected = modules | {f"{distribution}-{version}.dist-info/{name}" for name in metadata}
        expected |= {f"{distribution}-{version}.data/data/{name}" for name in shared}
        if size(file) > MOST_BYTES and distribution in LEAVES:
            raise SystemExit(f"{file.name} has {size(file)} bytes, more than {MOST_BYTES}")
    else:
        with tarfile.open(file) as sdist:
            names = [member.name for member in sdist if member.isfile()]  # a link would lead nowhere
        folder = ROOT / "tests" / package.name.removeprefix("rdzv-")
        tests = {path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
        inside = {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "tests/conftest.py", *tests, *shared}
        inside |= {f"src/{name}" for name in modules}
        expected = {f"{distribution}-{version}/{name}" for name in inside}
    if sorted(names) != sorted(expected):
        raise SystemExit(f"{file.name}: missing {expected - {*names}}, too many {sorted({*names} - expected)}")


def find_python(name: str) -> str | None:
    """The first one on PATH that starts: the shim of a Python that pyenv installed and did not activate fails."""
    found = (shutil.which(name, path=folder) for folder in os.get_exec_path())
    return next((python for python in found if python and starts(python)), None)


def starts(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0
    except OSError:
        return False


def install_by_name(python: str, folder: Path, links: Path, name: str) -> None:
    run(python, "-m", "venv", "--clear", "--without-pip", str(folder))  # not every Python brings a pip
    pip = (sys.executable, "-m", "pip", "--python", str(folder / SCRIPTS / "python"))
    run(*pip, "install", "--quiet", "--no-index", "--find-links", str(links), name)


def run_tests(name: str, venv: Path, links: Path) -> None:
    """As a packager would, with what the sdist says that its tests need. PyTorch is too large for that, so the tests of
    rdzv-torchrun are only collected.
    """
    install_by_name(sys.executable, venv, links, name)
    python = venv / SCRIPTS / "python"
    # Outside the repository, whose tox.ini pytest would find.
    with tempfile.TemporaryDirectory() as folder:
        (sdist,) = links.glob(f"{name.replace('-', '_')}-[0-9]*.tar.gz")
        shutil.unpack_archive(sdist, folder)
        (source,) = Path(folder).iterdir()
        group = f"{source / 'pyproject.toml'}:test"
        run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), "--group", group)
        options = ["-qq", "--collect-only"] if name == "rdzv-torchrun" else ["-q"]
        subprocess.run([python.with_name("pytest"), *options], check=True, cwd=source)


def install_as_the_readme_says(python: str, venv: Path, clone: Path) -> None:
    """With the pip that this Python brings: before 24.1 it refuses ``NAME @ git+file:///...``, a URL without a host."""
    # Not from ROOT, which may be a shallow clone: pip makes a partial clone, and of a shallow one git 2.39 never finishes it.
    run("git", "init", "--quiet", str(clone))
    git = ("git", "-C", str(clone), "-c", "user.name=check", "-c", "user.email=check", "-c", "commit.gpgsign=false")
    run(*git, "add", "packages")
    run(*git, "commit", "--quiet", "--no-verify", "--message=check")
    run(python, "-m", "venv", "--clear", str(venv))
    for line in re.findall(r"^\$ pip (install .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        pip = (venv / SCRIPTS / "python", "-m", "pip", "--quiet")
        arguments = shlex.split(line.replace("/path/to/your/clone", clone.as_posix()))
        subprocess.run([*pip, *arguments, "--force-reinstall"], check=True, cwd=clone)


def size(file: Path) -> int:
    return file.stat().st_size


def run(*command: str) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": MOMENT, "UV_CONSTRAINT": str(TOOLS)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
