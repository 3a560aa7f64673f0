"""Between the text of the options and a dict, in both directions.

A text is ``<key1>=<value1>,...,<keyN>=<valueN>``. White space around keys, values and the whole is ignored; a value may have
``=`` in it, nothing can have a comma in it, and no text at all means no options.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import timedelta


class ConfigError(ValueError):
    """Options that cannot be read, or cannot be written.

    ``str(error)`` is PyTorch's text where PyTorch has one. The hint is added as a note (PEP 678) where the Python has notes,
    3.11 and newer.

    >>> try:
    ...     parse_rendezvous_config("timeout=60,is_host=")
    ... except ConfigError as error:
    ...     error.key, error.span, error.config[slice(*error.span)]
    ('is_host', (11, 19), 'is_host=')
    """

    config: str | None
    """The text as given; None where the options were given as a mapping."""
    key: str
    """The key of the bad option, empty where that is what is wrong."""
    span: tuple[int, int] | None
    """Where the bad part starts and ends in ``config``; None where there is no text."""
    hint: str
    """What to do about it, in one sentence, control characters escaped."""

    def __init__(self, message: str, config: str | None, key: str, span: tuple[int, int] | None, hint: str) -> None:
        super().__init__(message)
        self.config = config
        self.key = key
        self.span = span
        self.hint = hint
        if sys.version_info >= (3, 11):
            self.add_note(hint)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[object, ...], dict[str, object]]:
        return type(self), (str(self), self.config, self.key, self.span, self.hint), vars(self)


def parse_rendezvous_config(
    config_str: str, *, unique_keys: bool = False, known: Collection[str] | None = None
) -> dict[str, str]:
    """Read ``key=value,key=value`` into a dict, in the order of the text.

    Args:
        config_str: The text, as ``torchrun --rdzv-conf`` takes it.
        unique_keys: Refuse a key that is given twice; otherwise the last one wins, as in PyTorch.
        known: The keys to accept; None accepts all, as PyTorch does.

    Returns:
        The options, keys and values without the white space round them.

    Raises:
        ConfigError: An option without a key or without a value, or one that ``unique_keys`` or ``known`` refuses; the first
            one in the text.
        TypeError: ``config_str`` is not a str, or ``known`` is one.

    >>> parse_rendezvous_config("timeout=60, is_host=1")
    {'timeout': '60', 'is_host': '1'}

    The rules, and the texts of the first two errors, are those of ``torch.distributed.elastic.rendezvous.utils``.
    """
    if not isinstance(config_str, str):
        raise TypeError(f"config_str must be a str, not {type(config_str).__name__}")
    # Of None it is not asked, for isinstance is slow to say no.
    if known is not None and isinstance(known, str):
        raise TypeError("known must be a collection of str, not a str")
    options: dict[str, str] = {}
    text = config_str.strip()
    if not text:
        return options
    written = text.split(",")
    for option in written:
        key, _, value = option.partition("=")
        key = key.strip()
        value = value.strip()
        if not key or not value:
            raise _incomplete(config_str, _start(config_str, written, option), option.strip(), key)
        if unique_keys and key in options:
            raise _refused(config_str, _start(config_str, written, option), key, "is given more than once", "Keep one of them.")
        if known is not None and key not in known:
            raise _refused(config_str, _start(config_str, written, option), key, "is not known", _nearest(key, known))
        options[key] = value
    return options


def format_rendezvous_config(options: Mapping[str, str | int | float | bool | timedelta]) -> str:
    """Write options as ``key=value,key=value``: the inverse of the parser, and of the getters.

    Args:
        options: Bools are written as 1 and 0, timedeltas in seconds; ints, floats and strs as they are, a member of an enum as
            its value.

    Returns:
        The text; empty where there are no options.

    Raises:
        ConfigError: The parser would not give back this key or this value: it is empty, has a comma in it or white space at an
            end, or the key has a ``=`` in it. Or its getter would not: an int has more digits than Python writes, or a
            timedelta of 2**33 seconds (272 years) or more has microseconds, which no float tells apart.
        TypeError: A key is not a str, or a value has none of the types above.

    >>> format_rendezvous_config({"is_host": True, "timeout": 60})
    'is_host=1,timeout=60'
    """
    return ",".join(_written(key, value) for key, value in options.items())


def _written(key: str, value: str | float | bool | timedelta) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key of an option must be a str, not {type(key).__name__}")
    key = str.__str__(key)
    if not key or key != key.strip() or "," in key or "=" in key:
        hint = "A key is not empty and has no comma, no '=', and no white space at its ends."
        raise ConfigError(f"The rendezvous configuration key {key!a} cannot be written.", None, key, None, hint)
    return f"{key}={_written_value(key, value)}"


def _written_value(key: str, value: str | float | bool | timedelta) -> str:
    from datetime import timedelta

    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        if value.microseconds and abs(seconds) >= 2**33:
            raise _unwritable(key, "A duration of 2**33 seconds (272 years) or more is a whole number of seconds.")
        value = int(seconds) if seconds.is_integer() else seconds
    # A subclass, such as an enum's or numpy's, may show itself in another way than its value does.
    if isinstance(value, int):
        try:
            return repr(int(value))
        except ValueError as error:
            raise _unwritable(key, "Python writes no more digits than sys.get_int_max_str_digits() says.") from error
    if isinstance(value, float):
        return repr(float(value))
    if not isinstance(value, str):
        expected = "a str, int, float, bool or timedelta"
        raise TypeError(f"the value of option {key!a} must be {expected}, not {type(value).__name__}")
    value = str.__str__(value)
    if not value or value != value.strip() or "," in value:
        raise _unwritable(key, "A value is not empty and has no comma, and no white space at its ends.")
    return value


def _unwritable(key: str, hint: str) -> ConfigError:
    return ConfigError(f"The value of rendezvous configuration option {key!a} cannot be written.", None, key, None, hint)


def _incomplete(config_str: str, start: int, option: str, key: str) -> ConfigError:
    if key:
        message = f"The rendezvous configuration option '{key}' must have a value specified."
        hint = "There is no value. Write one after '=', or leave the key out."
    else:
        message = "The rendezvous configuration string must be in format <key1>=<value1>,...,<keyN>=<valueN>."
        hint = "There is no key. Write key=value, and a comma only between two of them."
    return ConfigError(message, config_str, key, (start, start + len(option)), hint)


def _refused(config_str: str, start: int, key: str, reason: str, hint: str) -> ConfigError:
    message = f"The rendezvous configuration option '{key}' {reason}."
    return ConfigError(message, config_str, key, (start, start + len(key)), hint)


def _start(config_str: str, options: list[str], option: str) -> int:
    """Where this very option starts in the text: of two equal ones it is the second that is refused as given twice."""
    number = next(number for number, other in enumerate(options) if other is option)
    start = len(config_str) - len(config_str.lstrip()) + sum(map(len, options[:number])) + number
    return start + len(option) - len(option.lstrip())


def _nearest(key: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    for name in get_close_matches(key, known, n=1):
        return f"Did you mean {name!a}?"
    return f"Known are: {', '.join(map(ascii, sorted(known)))}." if known else "No option is known here."
