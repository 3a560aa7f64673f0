"""Does this host name or address mean this machine, and why?

A name or an address goes in, a decision with its reason comes out. It looks names up and asks the kernel; it changes nothing,
and sends packets to the resolver and to itself only, and to the host where a probe is asked for. (Under ip_nonlocal_bind those
to itself may leave.)
"""

from ._address import is_local_address, source_address
from ._match import match_host, matches_machine_hostname
from ._result import HostMatch, MatchRule

__all__ = ["HostMatch", "MatchRule", "is_local_address", "match_host", "matches_machine_hostname", "source_address"]
