"""torch's own elastic code runs on rdzv.utils."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_a_real_job_of_two_processes_runs() -> None:
    """torchrun, the c10d back end, gloo, an all-reduce: with our module in PyTorch's place."""
    command = [sys.executable, str(HERE / "torchrun_on_rdzv.py"), "--nnodes=1", "--nproc-per-node=2"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--rdzv-conf=read_timeout=30", str(HERE / "worker.py")]
    job = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert job.returncode == 0, job.stderr
    assert job.stdout.split() == ["sum=3", "sum=3"]
