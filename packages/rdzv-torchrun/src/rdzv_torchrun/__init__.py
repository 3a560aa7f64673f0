"""The rendezvous backend behind ``torchrun --rdzv-backend=rdzv``.

PyTorch's own c10d rendezvous, with another answer to the question which node hosts the store: the one that the
endpoint leads to, proved by a connection. torchrun finds it by its entry point; nothing here is patched into PyTorch,
and importing this package imports no torch.
"""

from ._handler import get_handler

__all__ = ["get_handler"]
