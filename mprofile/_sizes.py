# SPDX-License-Identifier: MIT
"""Sizes as people write and read them. The one place that knows the units.

K, M, G and T are powers of 1024, with or without "iB": 128K is 128KiB is 131072 bytes.
"""

__all__ = ["format_size", "parse_size"]

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

ALLOWED = "a number of bytes, like 131072, 128K, 512KiB or 1.5MiB"

_SIZE = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?:([KMGT])(?:iB)?|B)?"

# The profiler counts in 64 bits; nothing of 2^62 bytes can be meant.
_MOST = 1 << 62


def parse_size(text: str) -> int:
    """Return the whole number of bytes that ``text`` names.

    ``text`` is a number with an optional unit: B, K, M, G, T, KiB, MiB, GiB or TiB, in upper or lower case, with or
    without a space before it. A fraction is rounded to whole bytes. ValueError for anything else, and for 2^62
    bytes or more; its text says what is allowed.
    """
    import re  # here: format_size is part of `import mprofile`, and re is most of its cost

    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE | re.ASCII)
    if match is None:
        raise ValueError("{!r} is not {}".format(text, ALLOWED))
    number, unit = match.groups()
    scale = 1024 ** " KMGT".index(unit.upper()) if unit else 1
    size: float = float(number) * scale
    if number.isdigit() and size <= _MOST:
        size = int(number) * scale  # to the last byte; longer numbers int() need not read
    if size >= _MOST:
        raise ValueError("{!r} is too large; allowed is {}, below 2^62 bytes".format(text, ALLOWED))
    return round(size)


def format_size(size: float, sign: bool = False) -> str:
    """Return ``size`` in bytes as text of at most five digits and a unit, as tracemalloc writes it.

    ``sign``: write a plus before sizes of at least 0. The unit changes at 10 KiB, 10 MiB, ..., and below 100 of a unit
    there is one decimal: "8191 B", "10.0 KiB", "9999 KiB", "99.9 MiB".
    """
    plus = "+" if sign else ""
    for unit in UNITS:
        if abs(size) < 100 and unit != "B":
            return "{:{}.1f} {}".format(size, plus, unit)
        if abs(size) < 10 * 1024 or unit == UNITS[-1]:
            break
        size /= 1024
    return "{:{}.0f} {}".format(size, plus, unit)
