"""PyTorch's file with the original helpers, found and loaded by its path: PyTorch itself is never imported."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

_PLACE = Path("torch", "distributed", "elastic", "rendezvous", "utils.py")


@dataclass(frozen=True)
class Upstream:
    """The file, the module it makes, and the version of the PyTorch it belongs to."""

    path: Path
    module: ModuleType
    version: str


def find(given: Path | None = None) -> Upstream | None:
    """The given file, or that of the PyTorch installed where this Python looks; None where there is none."""
    path = given or next((file for entry in sys.path if (file := Path(entry) / _PLACE).is_file()), None)
    return None if path is None else Upstream(path, load(path), _version(path))


def load(path: Path) -> ModuleType:
    """The file as a module named ``upstream_utils``."""
    spec = importlib.util.spec_from_file_location("upstream_utils", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _version(path: Path) -> str:
    version_file = path.parents[3] / "version.py"
    if not version_file.is_file():
        return "unknown version"
    found: dict[str, str] = {}
    for line in version_file.read_text().splitlines():
        name, _, value = line.partition(" = ")
        found[name] = value.strip("'\"")
    return f"PyTorch {found.get('__version__', 'unknown')}"
