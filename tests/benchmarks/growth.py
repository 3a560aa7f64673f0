"""How the cost of a call grows with the length of its text, from 1 KiB to 1 MiB, fitted as an exponent: 1 is linear."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import rdzv
import rdzv.utils
from measure import Call, exponent, interleaved, median_ratio
from table import Budget, Curve, Findings, Row
from upstream import Upstream

_SIZES = tuple(2**power for power in range(10, 21, 2))
_PANEL = "Length of the text: KiB"
# Linear, and some room for what large texts cost the caches of a processor; quadratic would be 2.
_LINEAR = Budget(1.2, on="value")


def _repeated(piece: str, end: str = "") -> Callable[[int], str]:
    return lambda size: (piece * (size // len(piece) + 1))[: size - len(end)] + end


# The name in upstream's file, what the row is called, the text of a size, its further arguments, what the call raises.
_PAIRED: tuple[tuple[str, str, Callable[[int], str], tuple[object, ...], type[Exception] | None], ...] = (
    ("parse_rendezvous_endpoint", "long name", _repeated("node0.", "a:29400"), (0,), None),
    ("parse_rendezvous_endpoint", "bad character last", _repeated("n", "!:29400"), (0,), ValueError),
    ("parse_rendezvous_endpoint", "white space", _repeated(" ", "node0:29400"), (0,), None),
    ("parse_rendezvous_endpoint", "long port", lambda size: "n:" + "9" * size, (0,), ValueError),
    ("_try_parse_port", "digits", _repeated("9"), (), None),
    ("_parse_rendezvous_config", "many options", lambda size: ",".join(f"k{n:06}=v" for n in range(size // 10)), (), None),
    ("_parse_rendezvous_config", "one long value", lambda size: "key=" + "v" * size, (), None),
    ("_parse_rendezvous_config", "last value missing", lambda size: "k=v," * (size // 4) + "k=", (), ValueError),
)

# These mean something else upstream, or are not there.
_ALONE: tuple[tuple[str, Callable[..., object], Callable[[int], str], tuple[object, ...], type[Exception] | None], ...] = (
    ("parse_rendezvous_endpoint: only colons", rdzv.parse_rendezvous_endpoint, _repeated(":"), (0,), ValueError),
    ("parse_rendezvous_endpoint: only brackets", rdzv.parse_rendezvous_endpoint, _repeated("["), (0,), ValueError),
    (
        "parse_rendezvous_endpoint: long zone id",
        rdzv.parse_rendezvous_endpoint,
        lambda size: "fe80::1%" + "z" * size,
        (0,),
        None,
    ),
    ("matches_machine_hostname: no name", rdzv.matches_machine_hostname, _repeated("n"), (), None),
)


def findings(upstream: Upstream | None) -> Findings:
    """The rows and curves on the length of texts."""
    found = Findings("Growth from 1 KiB to 1 MiB of text, as an exponent")
    for name, what, text, args, raises in _PAIRED:
        functions = [getattr(rdzv.utils, name)]
        if upstream:
            functions.append(getattr(upstream.module, name))
        points, ratio = _points(functions, text, args, raises)
        theirs = exponent(points[1]) if upstream else None
        found.rows.append(Row(f"{name}: {what}", theirs, exponent(points[0]), "^", ratio, _LINEAR, "ratio of times at 1 MiB"))
        if "long name" in what or "many options" in what:
            for number, line in enumerate(points):
                in_kib = [(size / 1024, seconds) for size, seconds in line]
                found.curves.append(Curve(_PANEL, f"{name.lstrip('_')}: {what}", upstream=bool(number), points=in_kib))
    for what, function, text, args, raises in _ALONE:
        points, _ = _points([function], text, args, raises)
        found.rows.append(Row(what, None, exponent(points[0]), "^", None, _LINEAR))
    return found


def _points(
    functions: list[Callable[..., object]], text: Callable[[int], str], args: tuple[object, ...], raises: type[Exception] | None
) -> tuple[list[list[tuple[float, float]]], float | None]:
    """For each function, size and median cost; and the ratio of the first function to the second at the largest size."""
    texts = [text(size) for size in _SIZES]
    calls = [Call(function, (given, *args), raises) for function in functions for given in texts]
    samples = interleaved(calls, rounds=31)
    lines = [samples[start : start + len(_SIZES)] for start in range(0, len(samples), len(_SIZES))]
    points = [[(float(size), statistics.median(seconds)) for size, seconds in zip(_SIZES, line, strict=True)] for line in lines]
    return points, median_ratio(lines[0][-1], lines[1][-1]) if len(lines) == 2 else None
