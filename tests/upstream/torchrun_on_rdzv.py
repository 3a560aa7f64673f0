"""torchrun, with rdzv.utils in the place of PyTorch's module."""

import sys

import rdzv.utils

sys.modules["torch.distributed.elastic.rendezvous.utils"] = rdzv.utils

from torch.distributed.elastic.rendezvous import c10d_rendezvous_backend, dynamic_rendezvous  # noqa: E402
from torch.distributed.run import main  # noqa: E402

assert c10d_rendezvous_backend._matches_machine_hostname is rdzv.utils._matches_machine_hostname
assert dynamic_rendezvous._PeriodicTimer is rdzv.utils._PeriodicTimer
assert dynamic_rendezvous._delay is rdzv.utils._delay
main()
