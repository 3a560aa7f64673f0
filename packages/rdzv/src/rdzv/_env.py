"""A job in the forms that others read: a shell, a command line, a program. A job goes in, text comes out.

What a shell reads is quoted by the rules of POSIX, so that no value, whoever has set it, is anything but a value.
"""

from __future__ import annotations

from rdzv_endpoint import format_rendezvous_endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rdzv_scheduler import Job


def as_shell(job: Job, backend: str) -> str:
    """Lines for ``eval``: torchrun reads these variables in place of its options."""
    from shlex import quote

    return "\n".join(f"export PET_{name.upper()}={quote(value)}" for name, value in _options(job, backend))


def as_args(job: Job, backend: str) -> str:
    """The same as options of torchrun, each a word of a shell."""
    from shlex import quote

    return " ".join(quote(f"--{name.replace('_', '-')}={value}") for name, value in _options(job, backend))


def as_report(job: Job) -> dict[str, Any]:
    """All that is known of the job."""
    return {
        "scheduler": job.scheduler,
        "endpoint": format_rendezvous_endpoint(job.host, job.port),
        "host": job.host,
        "port": job.port,
        "nodes": job.nodes,
        "nnodes": job.nnodes,
        "min_nodes": job.min_nodes,
        "node_rank": job.node_rank,
        "run_id": job.run_id,
    }


def _options(job: Job, backend: str) -> list[tuple[str, str]]:
    return [
        ("rdzv_backend", backend),
        ("rdzv_endpoint", format_rendezvous_endpoint(job.host, job.port)),
        ("rdzv_id", job.run_id),
        ("nnodes", str(job.nnodes) if job.min_nodes == job.nnodes else f"{job.min_nodes}:{job.nnodes}"),
    ]
