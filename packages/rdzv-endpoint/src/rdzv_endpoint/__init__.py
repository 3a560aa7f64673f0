"""Parse and format the endpoint at which a distributed job meets.

Text goes in, ``(host, port)`` comes out, and back. Nothing here looks anything up, opens a socket or knows this machine.
"""

from ._endpoint import EndpointError, format_rendezvous_endpoint, parse_rendezvous_endpoint, try_parse_port

__all__ = ["EndpointError", "format_rendezvous_endpoint", "parse_rendezvous_endpoint", "try_parse_port"]
