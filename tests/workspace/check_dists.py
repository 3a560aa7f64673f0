"""Builds all distributions as they would be published, and checks them: ``python check_dists.py FOLDER``.

Each sdist, and the wheel from that sdist, twice: the bytes must not depend on when or where. Then what is inside (the licence,
py.typed, the sources, nothing else), the size, the metadata as the index would judge it, and an installation of the set by name
from the built files alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(folder for folder in (ROOT / "packages").iterdir() if (folder / "pyproject.toml").exists())
MOST_BYTES = 20_000
# Any moment will do, as long as it is the same for both builds; this one is the first that a zip file can hold.
MOMENT = "315532800"


def main(work: Path) -> None:
    shutil.rmtree(work / "check", ignore_errors=True)
    first, second = (build_all(work / "check" / name) for name in ("first", "second"))
    for one, other in zip(first, second, strict=True):
        if one.name != other.name or one.read_bytes() != other.read_bytes():
            raise SystemExit(f"two builds differ: {one.name}")
    for file in first:
        check_contents(file)
    wheels = [file for file in first if file.suffix == ".whl"]
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, first))
    run("check-wheel-contents", *map(str, wheels))
    install_by_name(work / "check" / "venv", first[0].parent)
    print(f"{len(first)} files built twice with equal bytes; the largest wheel has {max(map(size, wheels))} bytes")


def build_all(target: Path) -> list[Path]:
    for package in PACKAGES:
        source = shutil.copytree(package, target / "source" / package.name)
        # An sdist, then a wheel from that sdist; uv makes the build environments, several times faster than pip.
        run(sys.executable, "-m", "build", "--installer=uv", "--outdir", str(target / "dist"), str(source))
    return sorted((target / "dist").iterdir())


def check_contents(file: Path) -> None:
    distribution = file.name.split("-")[0]
    source = ROOT / "packages" / distribution.replace("_", "-") / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.suffix in (".py", ".typed")}
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            names = {name for name in wheel.namelist() if ".dist-info/" not in name}
            expected = modules
            licensed = any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
        if size(file) > MOST_BYTES and distribution in ("rdzv_config", "rdzv_endpoint", "rdzv_hostmatch", "rdzv_timer"):
            raise SystemExit(f"{file.name} has {size(file)} bytes, more than {MOST_BYTES}")
    else:
        with tarfile.open(file) as sdist:
            names = {name.partition("/")[2] for name in sdist.getnames()}
        expected = {f"src/{name}" for name in modules}
        expected |= {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"} & names
        licensed = "LICENSE" in names
    if names != expected or not licensed:
        raise SystemExit(f"{file.name}: missing {expected - names}, too many {names - expected}, licence: {licensed}")


def install_by_name(folder: Path, links: Path) -> None:
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    offline = ("-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(links))
    run(str(scripts / "python"), *offline, *(package.name for package in PACKAGES))
    run(str(scripts / "python"), "-c", "import rdzv, rdzv.utils")
    run(str(scripts / "rdzv"), "check", "localhost:29400", "--quiet")


def size(file: Path) -> int:
    return file.stat().st_size


def run(*command: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": MOMENT}, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
