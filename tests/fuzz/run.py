"""Let atheris look for an input that breaks a promise, guided by the code it reaches.

    python run.py --seconds 30              each target for so long
    python run.py --seconds 3600 endpoint   this one

Each target runs in a process of its own, as many at a time as there are processors, from its folder of `corpus`. What is
found is written into the current directory, and goes into the corpus once it is mended. The last lines say how many inputs
were tried; the exit status is 0 if none broke anything.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NAMES = ("endpoint", "port", "config", "host", "probe", "scheduler", "command")
CORPUS = Path(__file__).parent / "corpus"
INSTRUMENTED = ["rdzv", "rdzv_config", "rdzv_endpoint", "rdzv_hostmatch", "rdzv_scheduler"]


def fuzz(name: str) -> None:
    """Run one target in this process; ends it. The remaining arguments are libFuzzer's."""
    import atheris

    # The types that pyright brings for atheris leave this out.
    with atheris.instrument_imports(include=INSTRUMENTED):  # pyright: ignore[reportAttributeAccessIssue]
        from targets import TARGETS

    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


def run(name: str, seconds: int) -> tuple[str, int, str]:
    """Run one target in a process of its own: its name, its exit status, its last words."""
    with tempfile.TemporaryDirectory() as found:
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", f"-artifact_prefix=found-{name}-"]
        command = [sys.executable, __file__, "--target", name, *options, "-print_final_stats=1", found, str(CORPUS / name)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
        )
    return name, done.returncode, done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=30, help="for each target (30)")
    parser.add_argument("targets", nargs="*", choices=[*NAMES, []], default=[], metavar="TARGET", help=", ".join(NAMES))
    options = parser.parse_args()
    broken = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, status, words in pool.map(lambda name: run(name, options.seconds), options.targets or NAMES):
            tried = re.search(r"number_of_executed_units: (\d+)", words)
            reached = re.findall(r"cov: (\d+)", words)
            if status or not tried:
                broken += 1
                print(f"{name}: broken, status {status}\n{words[-4000:]}")
            else:
                print(f"{name}: {int(tried[1]):,} inputs in {options.seconds} s, {reached[-1]} branches reached", flush=True)
    return bool(broken)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--target"]:
        target = sys.argv[2]
        del sys.argv[1:3]
        fuzz(target)
    else:
        sys.exit(main())
