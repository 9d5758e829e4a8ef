"""What spreadsheets make of tables, and what they want instead.

Excel takes CSV for UTF-8 by a byte order mark, and runs text that looks like a formula: an
apostrophe before it says that it is text. In languages with a decimal comma it writes, and wants,
`;` between cells.
"""

import re
from collections.abc import Mapping

BOM = "\ufeff"
_TEXTS = frozenset({"path", "mode", "error"})  # columns, whose commas are their own
# text with an apostrophe of its own gets one too, so that reading can drop one
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def as_text(cell: str) -> str:
    """Put an apostrophe before what would run as a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def from_text(cell: str) -> str:
    """Undo `as_text`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def separator_of(text: str) -> str:
    """Find what stands between the cells of a table of scores: a comma, `;` or a tab."""
    header = text.partition("\n")[0].rstrip("\r")
    names = {mark: [cell.strip('"') for cell in header.split(mark)] for mark in ",;\t"}
    return next((mark for mark, cells in names.items() if {"path", "score"} <= {*cells}), ",")


def with_points(record: Mapping[str, str]) -> dict[str, str]:
    """Write the numbers of a row with decimal points, where there are commas."""
    return {
        name: value if name in _TEXTS else value.replace(",", ".") for name, value in record.items()
    }
