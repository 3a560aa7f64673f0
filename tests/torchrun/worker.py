"""A worker: all-reduce over gloo, tell the test the sum, then do as the test says.

It talks over a Unix socket, whose path is its only argument: lines of JSON to the test; from it "exit" and a status, or
nothing, when the test is over. A Unix socket reaches out of a network namespace.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time

import torch
import torch.distributed as dist

PR_SET_PDEATHSIG = 1


def main() -> None:
    if sys.platform == "linux":
        # torchrun gives its workers sessions of their own: when a test kills it, they have to go too.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    dist.init_process_group("gloo")
    ones = torch.ones(1)
    dist.all_reduce(ones)
    said = {
        "sum": int(ones.item()),
        "rank": dist.get_rank(),
        "pid": os.getpid(),
        "restarts": int(os.environ["TORCHELASTIC_RESTART_COUNT"]),
        "job": os.environ["TORCHELASTIC_RUN_ID"],
        "master": os.environ["MASTER_ADDR"],
        "at": time.time(),
    }
    with socket.socket(socket.AF_UNIX) as test, test.makefile("rw") as lines:
        test.connect(sys.argv[1])
        print(json.dumps(said), file=lines, flush=True)
        order = lines.readline().split()
    if order and order[1] == "0":
        dist.destroy_process_group()
    sys.exit(int(order[1]) if order else 1)


if __name__ == "__main__":
    main()
