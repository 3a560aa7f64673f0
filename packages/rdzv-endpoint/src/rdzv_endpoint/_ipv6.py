"""Is this text an IPv6 address?

Pure text in, bool out. Written out because :mod:`ipaddress` costs more to load than the rest of this package; a test holds
the two equal.
"""

_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_ZONE_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")


def is_ipv6_address(text: str) -> bool:
    """Whether ``text`` is an IPv6 address (RFC 4291 section 2.2), with or without a zone id (RFC 4007 section 11).

    A zone id is one or more of the characters that RFC 3986 calls unreserved, ``A-Z a-z 0-9 . _ ~ -``. It is taken as it
    stands: the percent-encoding of RFC 6874 is for URIs, and an endpoint is none.

    >>> is_ipv6_address("2001:db8::1"), is_ipv6_address("fe80::1%eth0"), is_ipv6_address(":")
    (True, True, False)
    """
    if "%" in text:
        text, _, zone = text.partition("%")
        if not zone or not _ZONE_ID.issuperset(zone):
            return False
    head, gap, tail = text.partition("::")
    groups = head.split(":") if head else []
    if tail:
        groups += tail.split(":")
    if "." in text:
        # The last 32 bits may be written as an IPv4 address, which fills two groups; nothing may follow it.
        if text[-1] == ":" or not groups or not _is_ipv4_address(groups.pop()):
            return False
        groups += "00"
    # A gap stands for one group of zeros at least.
    if len(groups) > 7 if gap else len(groups) != 8:
        return False
    for group in groups:
        if not group or len(group) > 4:
            return False
    return _HEX_DIGITS.issuperset("".join(groups))


def _is_ipv4_address(text: str) -> bool:
    octets = text.split(".")
    return len(octets) == 4 and all(map(_is_octet, octets))


def _is_octet(text: str) -> bool:
    # A leading zero means octal to some systems and decimal to others, so it means nothing here.
    return len(text) <= 3 and text.isdigit() and text.isascii() and str(int(text)) == text and int(text) <= 255
