"""The original module, name for name: ``torch.distributed.elastic.rendezvous.utils`` without PyTorch.

Every name is the same object as the public one of its distribution. To migrate, change the module's name in the import::

    from rdzv.utils import _matches_machine_hostname, parse_rendezvous_endpoint
"""

from rdzv_config import parse_rendezvous_config
from rdzv_endpoint import parse_rendezvous_endpoint, try_parse_port
from rdzv_hostmatch import matches_machine_hostname
from rdzv_timer import PeriodicTimer, delay

# PyTorch exports one name; the private ones are imported by name there, and so are these here.
__all__ = ["parse_rendezvous_endpoint"]

_delay = delay
_matches_machine_hostname = matches_machine_hostname
_parse_rendezvous_config = parse_rendezvous_config
_PeriodicTimer = PeriodicTimer
_try_parse_port = try_parse_port
