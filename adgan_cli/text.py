"""Format counts, bytes and file names for people and for files.

A file name need not be valid UTF-8; Python keeps such bytes as lone surrogates, which no UTF-8 file
can hold. Everything adgan writes shows them as `\\udc80` to `\\udcff` (`\\ud800` to `\\udfff` for
broken Windows names). A backslash in the name itself that would read as such an escape is written
`\\u005c`; every other backslash stays as it is. Ordinary names do not change at all.
"""

import re

_ESCAPED = re.compile("[\ud800-\udfff]|\\\\(?=ud[89a-f][0-9a-f]{2}|u005c)")
_ESCAPE = re.compile(r"\\u(d[89a-f][0-9a-f]{2}|005c)")


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: 1 picture, 3,000 pictures."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def format_number(value: float) -> str:
    """Write a positive number with two digits or more, and no power of ten: 0.35, 4.2, 1,130."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def format_bytes(count: float) -> str:
    """Write a number of bytes for people: 52 KB, 37 MB, 1.2 GB."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} KB"


def escape_surrogates(text: str) -> str:
    """Write lone surrogates as backslash escapes; the result can be encoded as UTF-8."""
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def unescape(text: str) -> str:
    """Undo `escape_surrogates`: the same str, which the file system knows."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
