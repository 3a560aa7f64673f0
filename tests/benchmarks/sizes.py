"""The size of each wheel, made anew in memory from what is installed: a wheel is an archive of just those files."""

from __future__ import annotations

import io
import zipfile
from importlib.metadata import distribution

from table import Budget, Findings, Row
from upstream import Upstream

_LEAF = Budget(20_000, on="value")
# What an installer adds.
_NOT_IN_THE_WHEEL = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")


def findings(_upstream: Upstream | None) -> Findings:
    """The rows on sizes."""
    found = Findings("Wheel")
    for name in ("rdzv-endpoint", "rdzv-config", "rdzv-hostmatch", "rdzv-timer", "rdzv-scheduler", "rdzv"):
        found.rows.append(Row(f"size of {name}", None, _wheel_size(name), "B", budget=_LEAF if name != "rdzv" else None))
    return found


def _as_built(name: str, content: bytes) -> bytes:
    """The file as it was in the wheel: installers add to the list of files what they have made."""
    if name != "RECORD":
        return content
    added = (b".pyc,", *(b"/%b," % name.encode() for name in _NOT_IN_THE_WHEEL))
    return b"".join(line for line in content.splitlines(keepends=True) if not any(mark in line for mark in added))


def _wheel_size(name: str) -> int:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in distribution(name).files or ():
            if file.name not in _NOT_IN_THE_WHEEL and file.suffix != ".pyc" and ".." not in file.parts:
                wheel.writestr(str(file), _as_built(file.name, file.read_binary()))
    return len(archive.getvalue())
