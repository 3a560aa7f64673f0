"""The set in one import, and the original module name for name."""

from __future__ import annotations

import inspect

import pytest
import rdzv
import rdzv.utils
import rdzv_config
import rdzv_endpoint
import rdzv_hostmatch
import rdzv_timer

LEAVES = [rdzv_config, rdzv_endpoint, rdzv_hostmatch, rdzv_timer]


def test_the_meta_package_exports_what_the_leaves_export() -> None:
    """The same objects, and of its own the check alone."""
    assert sorted(rdzv.__all__) == sorted(["Report", "check", *(name for leaf in LEAVES for name in leaf.__all__)])
    for leaf in LEAVES:
        for name in leaf.__all__:
            assert getattr(rdzv, name) is getattr(leaf, name)


@pytest.mark.parametrize(
    ("original", "public"),
    [
        ("parse_rendezvous_endpoint", rdzv_endpoint.parse_rendezvous_endpoint),
        ("_try_parse_port", rdzv_endpoint.try_parse_port),
        ("_parse_rendezvous_config", rdzv_config.parse_rendezvous_config),
        ("_matches_machine_hostname", rdzv_hostmatch.matches_machine_hostname),
        ("_delay", rdzv_timer.delay),
        ("_PeriodicTimer", rdzv_timer.PeriodicTimer),
    ],
)
def test_the_original_names_are_the_same_objects(original: str, public: object) -> None:
    """rdzv.utils renames, and wraps nothing."""
    assert getattr(rdzv.utils, original) is public


def test_the_original_module_exports_what_pytorch_s_exports() -> None:
    """One name; the others are imported by name there."""
    assert rdzv.utils.__all__ == ["parse_rendezvous_endpoint"]
    public = [name for name in vars(rdzv.utils) if not name.startswith("__")]
    assert not [name for name in public if inspect.ismodule(getattr(rdzv.utils, name))]
