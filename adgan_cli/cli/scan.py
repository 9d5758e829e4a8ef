"""adgan scan: what is in a folder, before anything is trained; without torch."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adgan_cli.cli.console import Reporter, escape_control, format_duration, output, stdout, wrapped
from adgan_cli.cli.options import (
    InputOptions,
    ReaderOptions,
    ValueRangeOption,
    given_ranges,
    warn_of_ranges,
)
from adgan_cli.cli.signature import field_option, with_options
from adgan_cli.config import ModelConfig, ReadConfig, Size
from adgan_cli.errors import ConfigError, NoImagesError
from adgan_cli.presets import PRESETS
from adgan_cli.text import escape_surrogates, format_number, plural

if TYPE_CHECKING:
    from adgan_cli.images.scan import Scan

SHOWN = 10  # entries of each table in the terminal; --json has them all


@with_options
def scan(
    *,
    size: Annotated[Size, field_option(ModelConfig, "size")] = ModelConfig.size,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with nothing left out.")
    ] = False,
    value_range: ValueRangeOption = None,
    reporter: Reporter,
    inputs: InputOptions,
    reading: ReaderOptions,
) -> None:
    """Count what is in a folder: formats, modes, sizes, damaged files, duplicates, time to take.

    Decodes every picture in full; `train` then finds them decoded.

    Example: adgan scan ./bedrooms
    """
    if not inputs:
        raise ConfigError("give a folder, or a list with --files-from; see adgan scan --help")
    ranges = given_ranges(value_range)
    listing = inputs.listing(reporter, note_others=False)

    from adgan_cli.images.read import Preprocessing
    from adgan_cli.images.scan import scan as scan_images

    started = time.monotonic()
    rules = ReadConfig()
    reader = reading.reader(Preprocessing(size, 3, rules.fit, rules.alpha, ranges), reporter)
    with reporter.counting_bar() as bar:
        task = bar.add_task("reading pictures", total=len(listing.items))
        result = scan_images(
            listing, reader, on_progress=lambda done: bar.update(task, completed=done)
        )
    model = replace(PRESETS["default"].model, size=size)
    seconds = {"read": time.monotonic() - started, **_expected(model, result.readable)}
    if as_json:
        output(json.dumps(_record(result, seconds), indent=2))
    else:
        for line in _lines(result, seconds, model):
            output(wrapped(escape_control(line), stdout, indent=12))
    warn_of_ranges(result.value_ranges)
    if not result.readable:
        raise NoImagesError(f"no usable picture in {result.root}: all {result.total} failed")


def _expected(model: ModelConfig, images: int) -> dict[str, float]:
    """Estimate the seconds that training and ranking would take on the CPU, roughly."""
    from adgan_cli.engine.cost import product_speed, search_seconds, training_seconds

    speed = product_speed()
    return {
        "training_step": training_seconds(model, PRESETS["default"].train, speed),
        "rank": images * search_seconds(model, PRESETS["default"].search, speed),
    }


def _record(result: "Scan", seconds: Mapping[str, float]) -> dict[str, Any]:
    return {
        "root": escape_surrogates(str(result.root)),
        "found": result.total,
        "readable": result.readable,
        "unreadable": [
            {"path": escape_surrogates(n), "reason": why} for n, why in result.unreadable
        ],
        "formats": result.formats,
        "modes": result.modes,
        "sizes": {f"{width}x{height}": count for (width, height), count in result.sizes.items()},
        "ranges": {kind: [low, high] for kind, low, high in result.ranges},
        "levels": {one.kind: round(one.levels, 1) for one in result.value_ranges},
        "one_coloured": result.one_coloured,
        "fully_transparent": result.clear,
        "duplicates": [[escape_surrogates(name) for name in names] for names in result.duplicates],
        "links": result.links,
        "passed_over": result.passed_over,
        "seconds": {name: float(f"{value:.3g}") for name, value in seconds.items()},
    }


def _lines(result: "Scan", seconds: Mapping[str, float], model: ModelConfig) -> list[str]:
    from adgan_cli.images.find import count_kinds
    from adgan_cli.images.value_ranges import describe_ranges

    sides = [side for size in result.sizes for side in size]
    repeated = sum(len(names) - 1 for names in result.duplicates)
    lines = [
        f"{plural(result.total, 'picture')} in {result.root}: {result.readable:,} readable, "
        f"{len(result.unreadable):,} not; {plural(repeated, 'exact duplicate')}",
        _table("formats", result.formats),
        _table("modes", result.modes),
        _table("sizes", {f"of {w}x{h}": count for (w, h), count in result.sizes.items()}),
    ]
    if sides:
        lines.append(f"{'sides':12}{min(sides):,} to {max(sides):,} pixels")
    lines += [f"{'values':12}{line}" for line in describe_ranges(result.ranges)]
    if result.one_coloured:
        of_these = f", {result.clear:,} of them fully transparent" if result.clear else ""
        lines.append(
            f"{'blank':12}{plural(result.one_coloured, 'picture')} of one colour{of_these}"
        )
    if result.passed_over:
        lines.append(f"{'passed over':12}{count_kinds(result.passed_over)}")
    lines += _listed("unreadable", [f"{name}: {why}" for name, why in result.unreadable])
    lines += _listed("duplicates", [" = ".join(names) for names in result.duplicates])
    if result.readable:
        lines += _times(seconds, model)
    return lines


def _times(seconds: Mapping[str, float], model: ModelConfig) -> list[str]:
    step = seconds["training_step"]
    whole = PRESETS["default"].train.iters
    gpu = "; this machine shows an NVIDIA GPU: far less" if shutil.which("nvidia-smi") else ""
    return [
        f"{'reading':12}{format_duration(seconds['read'])}",
        f"{'training':12}about {format_number(step)} s a step at {model.size} px on the CPU, "
        f"{format_duration(whole * step)} for {whole:,} steps; train stops after "
        f"{PRESETS['default'].max_time} unless --max-time says otherwise, and chooses smaller "
        f"networks where these are too slow{gpu}",
        f"{'ranking':12}about {format_duration(seconds['rank'])} for all of these on the CPU{gpu}",
    ]


def _table(title: str, counts: Mapping[str, int]) -> str:
    cells = [f"{count:,} {name}" for name, count in list(counts.items())[:SHOWN]]
    rest = list(counts.values())[SHOWN:]
    if rest:
        cells.append(f"{sum(rest):,} of {len(rest):,} other {title}")
    return f"{title:12}{', '.join(cells) or 'none'}"


def _listed(title: str, entries: list[str]) -> list[str]:
    lines = [f"{title if not index else '':12}{entry}" for index, entry in enumerate(entries)]
    more = len(lines) - SHOWN
    return lines if more <= 0 else [*lines[:SHOWN], f"{'':12}and {more:,} more; --json lists all"]
