"""What the READMEs and the pages show is right for mypy and pyright too, since readers paste it into typed code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
# An example may leave its own functions and lists without types.
BRIEF = ["--disable-error-code=no-untyped-def", "--disable-error-code=no-untyped-call", "--disable-error-code=var-annotated"]


def main() -> int:
    pages = [ROOT / "README.md", *(ROOT / "packages").glob("*/README.md"), *(ROOT / "docs").rglob("*.md")]
    with TemporaryDirectory() as scratch:
        for page in pages:
            name = re.sub(r"\W", "_", str(page.relative_to(ROOT).with_suffix("")))
            for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)):
                Path(scratch, f"{name}_{number}.py").write_text(code, encoding="utf-8")
        checkers = (["mypy", *BRIEF], ["pyright"])
        return max(subprocess.run([sys.executable, "-m", *checker, scratch], cwd=ROOT).returncode for checker in checkers)


if __name__ == "__main__":
    raise SystemExit(main())
