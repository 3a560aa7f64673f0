"""What torchrun was told: the endpoint, and what ``--rdzv-conf`` may say to this backend. Parameters in, values and sentences
out; no name is looked up.

=================  ==============================================================================  =======
option             meaning                                                                         default
=================  ==============================================================================  =======
``is_host``        1: host the store; 0: never; else the node that the endpoint leads to hosts     (none)
``read_timeout``   seconds to enter a store, and for each operation on it                          60
``match_timeout``  seconds that the look-ups behind the log line may take                          15
``match_wait``     seconds for which those are repeated while the name does not resolve yet        0
``rejoin_timeout`` seconds for which a node that needs the store looks for it after losing it      600
``failover_delay`` seconds after which a node may host at the next one of several endpoints        10
``liveness``       0: do not restart the workers when a node is gone                               1
=================  ==============================================================================  =======

``match_timeout`` is at most half of ``read_timeout``, so that the look-ups have ended when the error of ``read_timeout`` shows
them. ``store_type`` and all others are PyTorch's and are passed on as they are.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from rdzv_endpoint import format_rendezvous_endpoint, parse_rendezvous_endpoint

from ._advertise import numeric

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.distributed.elastic.rendezvous.api import RendezvousParameters

_OPTION = "The rendezvous configuration option"
_DYNAMIC = ("join_timeout", "last_call_timeout", "close_timeout", "heartbeat_timeout")
_KEEP_ALIVE = ("keep_alive_interval", "keep_alive_max_attempt")
_OWN = ("failover_delay", "liveness", "match_timeout", "match_wait", "rejoin_timeout")
# torchrun itself adds "timeout".
KNOWN = frozenset({"store_type", "is_host", "read_timeout", "timeout", *_DYNAMIC, *_KEEP_ALIVE, *_OWN})

# poll(2), by which PyTorch waits, takes 2 ** 31 - 1 milliseconds at most.
_LONGEST = (2**31 - 1) // 1000


class Endpoint:
    """Where the nodes of a job meet.

    Raises:
        ValueError: The text is not an endpoint, or not one that can be the same on several nodes.
    """

    __slots__ = ("host", "port", "text")

    def __init__(self, endpoint: str, default_port: int, *, alone: bool) -> None:
        self.host, self.port = parse_rendezvous_endpoint(endpoint, default_port)
        self.text = format_rendezvous_endpoint(self.host, self.port)
        if not alone:
            self._refuse_what_only_one_node_understands()

    def _refuse_what_only_one_node_understands(self) -> None:
        if "%" in self.host:
            raise ValueError(
                f"The zone id in the endpoint '{self.text}' is valid on one machine only: give a name, or another address."
            )
        for ip in map(ip_address, numeric(self.host)):
            if (ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip).is_unspecified:
                raise ValueError(
                    f"The endpoint '{self.text}' is the wildcard address, which on each node means that node: give the name "
                    "or the address of the node that is to host."
                )
            if isinstance(ip, IPv6Address) and ip.is_link_local:
                raise ValueError(
                    f"The endpoint '{self.text}' is a link-local address, which leads nowhere without a zone id, and a zone "
                    "id is valid on one machine only: give a name, or another address."
                )
        if self.port == 0:
            raise ValueError(
                f"The endpoint '{self.text}' has port 0, which means any free port, and the other nodes cannot know which one: "
                "give a port."
            )


def read_endpoints(text: str, default_port: int, *, alone: bool) -> list[Endpoint]:
    """The endpoints in their order: one, or several with commas between them.

    Raises:
        ValueError: One of them cannot be used, or two are the same.
    """
    endpoints = [Endpoint(part, default_port, alone=alone) for part in text.split(",")]
    texts = [endpoint.text for endpoint in endpoints]
    for written in texts:
        if texts.count(written) > 1:
            raise ValueError(f"The endpoint '{written}' is given twice in '{text}': give each node once.")
    return endpoints


class Options:
    """The options that this backend reads itself.

    Raises:
        ValueError: A value cannot be read; the sentence names the option.
    """

    __slots__ = (
        "expiry",
        "failover_delay",
        "is_file",
        "is_host",
        "last_call_timeout",
        "liveness",
        "match_timeout",
        "match_wait",
        "read_timeout",
        "rejoin_timeout",
        "silence",
    )

    def __init__(self, params: RendezvousParameters) -> None:
        store_type = str(params.get("store_type", "tcp")).strip().lower()
        if store_type not in ("tcp", "file"):
            raise ValueError(f"{_OPTION} 'store_type' must be tcp or file, not {store_type!a}.")
        self.is_file = store_type == "file"
        self.is_host = params.get_as_bool("is_host")
        read_timeout = params.get_as_int("read_timeout", 60)
        if read_timeout is None or not 1 <= read_timeout <= _LONGEST:
            raise ValueError(f"{_OPTION} 'read_timeout' must be a whole number of seconds from 1 to {_LONGEST} (24 days).")
        self.read_timeout = read_timeout
        self.rejoin_timeout = _seconds(params, "rejoin_timeout", 600.0)
        self.failover_delay = _seconds(params, "failover_delay", 10.0)
        self.last_call_timeout = _seconds(params, "last_call_timeout", 30.0)
        self.liveness = params.get_as_bool("liveness", True) is not False
        interval = _seconds(params, "keep_alive_interval", 5.0)
        # Half an interval before PyTorch would notice: a beat is up to one interval old when it is first seen.
        self.expiry = max(_seconds(params, "keep_alive_max_attempt", 3.0) - 0.5, 1.0) * interval
        # How long a store may stay silent before it counts as lost.
        self.silence = min(max(self.expiry, 1.0), float(read_timeout))
        self.match_timeout = min(_seconds(params, "match_timeout", 15.0), read_timeout / 2)
        self.match_wait = _seconds(params, "match_wait", 0.0)


def unknown_options(keys: Iterable[str]) -> list[str]:
    """A sentence for each option that neither this backend nor PyTorch knows, with what may have been meant."""
    from difflib import get_close_matches

    sentences = []
    for key in keys:
        if key not in KNOWN:
            nearest = get_close_matches(key, sorted(KNOWN))
            hint = f": is {nearest[0]} meant?" if nearest else ""
            sentences.append(f"unknown option {key!a} in --rdzv-conf{hint}")
    return sentences


def _seconds(params: RendezvousParameters, key: str, default: float) -> float:
    try:
        seconds = float(params.get(key, default))
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{_OPTION} '{key}' must be a number of seconds, 0 or more.")
    return seconds
