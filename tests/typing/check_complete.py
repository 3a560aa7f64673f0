"""Every public name of every distribution has a type that a type checker need not infer: pyright's own measure of it."""

from __future__ import annotations

import json
import subprocess
import sys

PACKAGES = ["rdzv", "rdzv_config", "rdzv_endpoint", "rdzv_hostmatch", "rdzv_scheduler", "rdzv_timer", "rdzv_torchrun"]


def main() -> int:
    incomplete = 0
    for package in PACKAGES:
        command = [sys.executable, "-m", "pyright", "--ignoreexternal", "--outputjson", "--verifytypes", package]
        report = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
        score = report["typeCompleteness"]["completenessScore"]
        print(f"{package}: {score:.0%} of the public names have a known type")
        if score < 1:
            incomplete += 1
            for symbol in report["typeCompleteness"]["symbols"]:
                if symbol["isExported"] and not symbol["isTypeKnown"]:
                    print(f"  {symbol['name']}: {[problem['message'] for problem in symbol['diagnostics']]}")
    return incomplete


if __name__ == "__main__":
    raise SystemExit(main())
