"""The row of an image, written as CSV or JSON lines that read back the same.

CSV: lower-case header, `\\n` line ends, RFC 4180 quoting, UTF-8 without a byte order mark, floats
as `repr`, `true`/`false`, an empty cell for None. JSON lines: one object a line, the same keys,
null for None. Names that are not valid UTF-8 are escaped, see `text.py`.
What spreadsheets want instead, and make of it, is read back too, see `spreadsheets.py`.
"""

import csv
import io
import json
import math
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from adgan_cli.errors import ScoresError
from adgan_cli.scoring.spreadsheets import BOM, as_text, from_text, separator_of, with_points
from adgan_cli.text import escape_surrogates, unescape

COLUMNS = ("path", "score", "p_value", "in_training", "width", "height", "mode", "error")
Z_COLUMN = "z_"  # before the names of detectors: further columns, where scores are joined

RowFormat = Literal["csv", "jsonl", "excel"]

TraceWriter = Callable[[str, Sequence[Sequence[float]]], None]  # path, losses: n_seed by k + 1


class PartScores(Mapping[str, float]):
    """Scores of parts by their names, in little more memory than the numbers take.

    A table may have a million rows: `names` is one object for all of them.
    """

    __slots__ = ("_names", "_values")

    def __init__(self, names: tuple[str, ...], values: Sequence[float]) -> None:
        if len(names) != len(values):
            raise ValueError(f"{len(values)} scores do not belong to {len(names)} names")
        self._names, self._values = names, array("d", values)

    def __getitem__(self, name: str) -> float:
        if name not in self._names:
            raise KeyError(name)
        return self._values[self._names.index(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __repr__(self) -> str:
        return repr(dict(self))


NO_PARTS = PartScores((), ())
_INTERNED: dict[tuple[str, ...], tuple[str, ...]] = {}  # names in tables that were read


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A scored image, or a file that could not be scored and why."""

    path: str  # relative to the given root, with /
    score: float | None  # larger = more anomalous
    p_value: float | None = None  # chance that a normal image scores as high; see calibration.py
    in_training: bool | None = None  # None where the model does not hold its training fingerprints
    width: int | None = None  # pixels, as displayed: after the EXIF orientation
    height: int | None = None
    mode: str = ""  # how the file stores pixels and what was done to them; see images/read.py
    error: str = ""  # the reason, where there is no score
    # of each part of a joined score: standard deviations above ordinary images
    z_scores: Mapping[str, float] = NO_PARTS

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("path must not be empty")
        if self.score is None and not self.error:
            raise ValueError("neither score nor error is set; exactly one must be")
        if self.score is not None and self.error:
            raise ValueError("both score and error are set; exactly one must be")
        if self.score is not None and not math.isfinite(self.score):
            raise ValueError(f"score must be finite, got {self.score}")
        if not all(map(math.isfinite, self.z_scores.values())):
            raise ValueError(f"scores of parts must be finite, got {self.z_scores}")
        if self.p_value is not None and not 0 <= self.p_value <= 1:
            raise ValueError(f"p_value must be from 0 to 1, got {self.p_value}")


@dataclass(frozen=True)
class Counts:
    """Numbers of images, which must add up: none may get lost between listing and report."""

    found: int
    scored: int
    failed: int

    def __post_init__(self) -> None:
        if self.found != self.scored + self.failed:
            raise ValueError(
                f"found must be scored + failed, got {self.found} != {self.scored} + {self.failed}"
            )


def count_rows(rows: Iterable[ScoreRow], *, found: int) -> Counts:
    """Count scored and failed rows; raise ValueError where they are not as many as were found."""
    scored = [row.score is not None for row in rows]
    return Counts(found=found, scored=sum(scored), failed=len(scored) - sum(scored))


def row_writer(
    stream: TextIO, format: RowFormat = "csv", detectors: Sequence[str] = ()
) -> Callable[[ScoreRow], None]:
    """Return a function that writes one row and flushes, so that a pipe receives rows one by one.

    detectors: those that have columns of their own. For CSV the header is written at once. Open
    `stream` with encoding="utf-8", newline="".
    """

    def write(line: str) -> None:
        stream.write(line)
        stream.flush()

    if format == "jsonl":
        return lambda row: write(
            json.dumps(_record(row, detectors), ensure_ascii=False, allow_nan=False) + "\n"
        )
    is_excel = format == "excel"
    write((BOM if is_excel else "") + csv_line(columns(detectors)))
    return lambda row: write(csv_line(csv_cells(row, detectors, excel=is_excel)))


def columns(detectors: Sequence[str] = ()) -> tuple[str, ...]:
    """Name all columns of a table, those of detectors last."""
    return (*COLUMNS, *(Z_COLUMN + name for name in detectors))


def detectors_of(rows: Iterable[ScoreRow]) -> tuple[str, ...]:
    """Name the detectors that rows have scores of, in their order."""
    return tuple(dict.fromkeys(name for row in rows for name in row.z_scores))


def trace_writer(stream: TextIO) -> TraceWriter:
    """Return a function that writes an image's losses, one line per starting point and step.

    It takes the path and the losses (n_seed, k + 1). Open `stream` as for row_writer.
    """
    stream.write(csv_line(("path", "point", "step", "loss")))

    def write(path: str, losses: Sequence[Sequence[float]]) -> None:
        for point, steps in enumerate(losses):
            for step, loss in enumerate(steps):
                cells = escape_surrogates(path), str(point), str(step), repr(loss)
                stream.write(csv_line(cells))

    return write


def csv_cells(row: ScoreRow, detectors: Sequence[str] = (), *, excel: bool = False) -> list[str]:
    """Format the cells of one row, in the order of `columns`; excel: with no text a formula."""
    values = _record(row, detectors).values()
    return [
        as_text(value) if excel and isinstance(value, str) else csv_cell(value) for value in values
    ]


def csv_cell(value: str | float | bool | int | None) -> str:
    """Format the cell of a value: empty for None, true or false, a float as it round-trips."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def csv_line(cells: Iterable[str]) -> str:
    """Format one line of CSV, with its line end."""
    buffer = io.StringIO()
    # csv quotes what its line end contains; with \n alone a \r in a name would stay bare
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def read_scores(path: Path) -> list[ScoreRow]:
    """Read rows that `row_writer` or `write_ranking` wrote, or a table like theirs.

    The columns path and score are required; others may be missing, further ones are ignored.
    Raises ScoresError, naming the file and the line, for anything that is not a row.
    """
    text = _read_text(path)
    if not text.removeprefix(BOM).strip():
        raise ScoresError(f"{path}: the file is empty; expected a header with path and score")
    is_json = text.removeprefix(BOM).lstrip().startswith("{")
    records = _json_records(path, text.removeprefix(BOM)) if is_json else _csv_records(path, text)
    rows = []
    for line, record in records:
        try:
            rows.append(_row(record))
        except (ValueError, TypeError, OverflowError) as error:
            raise ScoresError(f"{path}, line {line}: {error}") from error
    return rows


def _record(
    row: ScoreRow, detectors: Sequence[str] = ()
) -> dict[str, str | float | bool | int | None]:
    # float() and int(): numpy scalars have another repr and are not JSON
    z_scores = {Z_COLUMN + name: row.z_scores.get(name) for name in detectors}
    return {
        "path": escape_surrogates(row.path),
        "score": None if row.score is None else float(row.score),
        "p_value": None if row.p_value is None else float(row.p_value),
        "in_training": None if row.in_training is None else bool(row.in_training),
        "width": None if row.width is None else int(row.width),
        "height": None if row.height is None else int(row.height),
        "mode": escape_surrogates(row.mode) or None,
        "error": escape_surrogates(row.error) or None,
        **{name: None if z is None else float(z) for name, z in z_scores.items()},
    }


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScoresError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ScoresError(f"{path}, line {line}: not UTF-8 text; save it as UTF-8") from error


def _csv_records(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    is_excel, text = text.startswith(BOM), text.removeprefix(BOM)
    separator = separator_of(text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    header: list[str] = []
    line = 1  # where the record begins: a quoted cell may hold line ends
    try:
        for cells in reader:
            if not header:
                _check_header(path, cells)
                header = cells
            elif cells and len(cells) != len(header):
                raise ScoresError(
                    f"{path}, line {line}: {len(cells)} cells where the header has {len(header)}"
                )
            elif cells:
                cells = list(map(from_text, cells)) if is_excel else cells
                record = dict(zip(header, cells, strict=True))
                yield line, with_points(record) if separator == ";" else record
            line = reader.line_num + 1
    except csv.Error as error:
        raise ScoresError(f"{path}, line {line}: not CSV: {error}") from error


def _check_header(path: Path, cells: list[str]) -> None:
    missing = [name for name in ("path", "score") if name not in cells]
    if missing:
        raise ScoresError(
            f"{path}, line 1: the header has no column {' and no column '.join(missing)}; "
            "expected a table written by adgan score or adgan rank"
        )


def _json_records(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    # not splitlines(): a name may hold U+2028
    for line, item in enumerate(text.split("\n"), start=1):
        if not item.strip():
            continue
        try:
            record = json.loads(item)
        except ValueError as error:
            raise ScoresError(f"{path}, line {line}: not JSON: {error}") from error
        if not isinstance(record, dict):
            raise ScoresError(f"{path}, line {line}: not a JSON object")
        yield line, record


def _row(record: Mapping[str, object]) -> ScoreRow:
    return ScoreRow(
        path=unescape(_string(record, "path")),
        score=_number(record, "score"),
        p_value=_number(record, "p_value"),
        in_training=_boolean(record, "in_training"),
        width=_integer(record, "width"),
        height=_integer(record, "height"),
        mode=unescape(_string(record, "mode")),
        error=unescape(_string(record, "error")),
        z_scores=_z_scores(record),
    )


def _z_scores(record: Mapping[str, object]) -> PartScores:
    columns = [name for name in record if name.startswith(Z_COLUMN)]
    values = {name.removeprefix(Z_COLUMN): _number(record, name) for name in columns}
    present = {name: value for name, value in values.items() if value is not None}
    if not present:
        return NO_PARTS
    names = tuple(map(sys.intern, present))
    return PartScores(_INTERNED.setdefault(names, names), [*present.values()])


def _string(record: Mapping[str, object], name: str) -> str:
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {value!r}")
    return value or ""


def _number(record: Mapping[str, object], name: str) -> float | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {value!r}") from None


def _integer(record: Mapping[str, object], name: str) -> int | None:
    value = _number(record, name)  # spreadsheets and data frames write 64.0 where a cell is empty
    if value is not None and (value != value // 1 or value < 0):
        raise ValueError(f"{name} must be a whole number, got {record[name]!r}")
    return None if value is None else int(value)


def _boolean(record: Mapping[str, object], name: str) -> bool | None:
    value = record.get(name)
    word = str(value).lower()
    if value is None or word == "":
        return None
    if word not in ("true", "false"):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return word == "true"
