"""adgan scan: what is in a folder, before anything is trained; without torch."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adgan_cli.cli import scoring
from adgan_cli.cli.console import counting_bar, duration, escape_control, plural
from adgan_cli.cli.options import (
    DEFAULT_LIMIT,
    CacheDir,
    CacheLimit,
    Exclude,
    FilesFrom,
    FollowLinks,
    Include,
    NoCache,
    Paths,
    Quiet,
    Recursive,
    Workers,
    cache_config,
    selection,
)
from adgan_cli.config import PRESETS, SIZES, ModelConfig, Size
from adgan_cli.errors import ConfigError, NoImagesError
from adgan_cli.text import escape_surrogates

if TYPE_CHECKING:
    from adgan_cli.images.scan import Scan

SHOWN = 10  # entries of each table in the terminal; --json has them all


def scan(
    paths: Paths = None,
    size: Annotated[
        Size, typer.Option(help=f"Pixels to train at: {', '.join(map(str, SIZES))}.")
    ] = ModelConfig.size,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, nothing left out.")] = False,
    recursive: Recursive = True,
    include: Include = None,
    exclude: Exclude = None,
    files_from: FilesFrom = None,
    follow_links: FollowLinks = False,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    cache_limit: CacheLimit = DEFAULT_LIMIT,
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Count what is in a folder: formats, modes, sizes, damaged files, duplicates, time to take.

    Decodes every picture in full; `train` then finds them decoded. Example: adgan scan ./bedrooms
    """
    model = replace(PRESETS["default"].model, size=size)
    place = cache_config(cache_dir, no_cache, cache_limit)
    chosen = selection(recursive, include, exclude, follow_links)
    if not paths and files_from is None:
        raise ConfigError("give a folder, or a list with --files-from; see adgan scan --help")
    listing = scoring.find(paths, files_from, chosen, quiet=quiet)

    from adgan_cli.images.read import Preprocessing
    from adgan_cli.images.reader import Reader
    from adgan_cli.images.scan import scan as scan_pictures

    started = time.monotonic()
    with counting_bar(quiet=quiet) as shown:
        task = shown.add_task("reading pictures", total=len(listing.items))
        found = scan_pictures(
            listing,
            Reader(Preprocessing(size, 3), workers, place, scoring.cache_off(quiet)),
            on_progress=lambda done: shown.update(task, completed=done),
        )
    seconds = {"read": time.monotonic() - started, **_expected(model, found.readable)}
    if as_json:
        typer.echo(json.dumps(_record(found, seconds), indent=2))
    else:
        for line in _lines(found, seconds, model):
            typer.echo(escape_control(line))
    if not found.readable:
        raise NoImagesError(f"no usable picture in {found.root}: all {found.total} failed")


def _expected(model: ModelConfig, pictures: int) -> dict[str, float]:
    """Seconds that training and ranking these pictures would take on the CPU, roughly."""
    from adgan_cli.engine.cost import product_speed, search_seconds, training_seconds

    speed = product_speed()
    return {
        "training_step": training_seconds(model, PRESETS["default"].train, speed),
        "rank": pictures * search_seconds(model, PRESETS["default"].search, speed),
    }


def _record(found: "Scan", seconds: Mapping[str, float]) -> dict[str, Any]:
    return {
        "root": escape_surrogates(str(found.root)),
        "found": found.total,
        "readable": found.readable,
        "unreadable": [
            {"path": escape_surrogates(n), "reason": why} for n, why in found.unreadable
        ],
        "formats": found.formats,
        "modes": found.modes,
        "sizes": {f"{width}x{height}": count for (width, height), count in found.sizes.items()},
        "ranges": {kind: [low, high] for kind, low, high in found.ranges},
        "duplicates": [[escape_surrogates(name) for name in names] for names in found.duplicates],
        "links": found.links,
        "seconds": {name: float(f"{value:.3g}") for name, value in seconds.items()},
    }


def _lines(found: "Scan", seconds: Mapping[str, float], model: ModelConfig) -> list[str]:
    sides = [side for size in found.sizes for side in size]
    repeated = sum(len(names) - 1 for names in found.duplicates)
    lines = [
        f"{plural(found.total, 'picture')} in {found.root}: {found.readable:,} readable, "
        f"{len(found.unreadable):,} not; {plural(repeated, 'exact duplicate')}",
        _table("formats", found.formats),
        _table("modes", found.modes),
        _table("sizes", {f"of {w}x{h}": count for (w, h), count in found.sizes.items()}),
    ]
    if sides:
        lines.append(f"{'sides':12}{min(sides):,} to {max(sides):,} pixels")
    lines += [f"{'values':12}{kind} from {low:g} to {high:g}" for kind, low, high in found.ranges]
    lines += _listed("unreadable", [f"{name}: {why}" for name, why in found.unreadable])
    lines += _listed("duplicates", [" = ".join(names) for names in found.duplicates])
    if found.readable:
        lines += _times(seconds, model)
    return lines


def _times(seconds: Mapping[str, float], model: ModelConfig) -> list[str]:
    step = seconds["training_step"]
    whole = PRESETS["default"].train.iters
    gpu = "; this machine shows an NVIDIA GPU: far less" if shutil.which("nvidia-smi") else ""
    return [
        f"{'reading':12}{duration(seconds['read'])}",
        f"{'training':12}about {step:.2g} s a step at {model.size} px on the CPU, "
        f"{duration(whole * step)} for {whole:,} steps; train stops after "
        f"{PRESETS['default'].max_time} unless --max-time says otherwise{gpu}",
        f"{'ranking':12}about {duration(seconds['rank'])} for all of these on the CPU{gpu}",
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
