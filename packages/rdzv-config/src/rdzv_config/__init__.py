"""Parse and format the options of a rendezvous, ``key=value,key=value``, and read them as the types they stand for.

Text goes in, a dict of strings comes out, and back. What the options mean is their reader's business.
"""

from ._config import ConfigError, format_rendezvous_config, parse_rendezvous_config
from ._getters import get_as_bool, get_as_float, get_as_int, get_as_timedelta

__all__ = [
    "ConfigError",
    "format_rendezvous_config",
    "get_as_bool",
    "get_as_float",
    "get_as_int",
    "get_as_timedelta",
    "parse_rendezvous_config",
]
