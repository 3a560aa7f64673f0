"""A worker that trains: all-reduces over gloo without end, each told to the test, until the test says that it is enough.

It talks over a Unix socket, whose path is its only argument: lines of JSON to the test. It goes on with the step after the
last one that the checkpoint beside the socket names, as training scripts do.
"""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import select
import signal
import socket
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist

PR_SET_PDEATHSIG = 1


def main(path: pathlib.Path) -> None:
    if sys.platform == "linux":
        # torchrun gives its workers sessions of their own: when a test kills it, they have to go too.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    node = os.environ["RDZV_TEST_NODE"]
    dist.init_process_group("gloo", timeout=timedelta(minutes=30))
    rank, world = dist.get_rank(), dist.get_world_size()
    checkpoint = path.with_name("checkpoint")
    start = torch.tensor([int(checkpoint.read_text()) if rank == 0 and checkpoint.exists() else 0])
    dist.broadcast(start, 0)
    with socket.socket(socket.AF_UNIX) as test, test.makefile("w") as lines:
        test.connect(str(path))
        step = int(start.item())
        while True:
            # One says for all whether it is enough, so that all stop at one step.
            is_enough = bool(select.select([test], [], [], 0.05)[0])
            total = torch.tensor([1, int(is_enough)])
            dist.all_reduce(total)
            assert int(total[0]) == world
            step += 1
            if rank == 0:
                new = checkpoint.with_suffix(".new")
                new.write_text(str(step))
                new.replace(checkpoint)
            said = {"node": node, "rank": rank, "world": world, "step": step, "pid": os.getpid(), "at": time.monotonic()}
            print(json.dumps({**said, "restarts": int(os.environ["TORCHELASTIC_RESTART_COUNT"])}), file=lines, flush=True)
            if int(total[1]):
                break
    dist.destroy_process_group()
    time.sleep(float(os.environ.get("RDZV_TEST_LATE", "0")))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
