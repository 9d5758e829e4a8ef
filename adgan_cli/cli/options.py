"""Options that several commands share, and what they amount to."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from adgan_cli.cli.console import Reporter, Stopwatch, VerboseReporter, status
from adgan_cli.cli.parse import parse_pixels, parse_size
from adgan_cli.cli.signature import Fields, Overrides, option
from adgan_cli.config import PICTURES, By, SearchConfig, flag
from adgan_cli.errors import ConfigError
from adgan_cli.presets import SEARCHES, SearchName
from adgan_cli.processes import join
from adgan_cli.text import plural

if TYPE_CHECKING:
    import torch

    from adgan_cli.engine.models.model import Model
    from adgan_cli.images.cache import CacheConfig
    from adgan_cli.images.depth import Ranges
    from adgan_cli.images.find import Listing
    from adgan_cli.images.read import Preprocessing
    from adgan_cli.images.reader import Reader
    from adgan_cli.images.value_ranges import ValueRange
    from adgan_cli.scoring.run import ScoringRun

# groups of options, beside those of config.py
OUTPUT, CACHE, MACHINE = "Output", "Cache", "Machine"
SEARCH_PANEL = "Search (default: the model's own settings)"
DEFAULT_MODEL = Path("adgan-model")

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Folders, pictures, .zip or .tar archives, LMDB folders, or a mix.", show_default=False
    ),
]
Device = Annotated[
    str, option(MACHINE, "Where to compute: auto, cpu, cuda, cuda:N or mps.", envvar="ADGAN_DEVICE")
]
ModelPath = Annotated[
    Path,
    typer.Option(
        "-m", "--model", envvar="ADGAN_MODEL", help="A model directory or .safetensors file."
    ),
]
TrainingPrecision = Annotated[
    Literal["auto", "fp32", "bf16"],
    option(MACHINE, "Number format of training; auto: bf16 where the hardware multiplies it."),
]
CacheDir = Annotated[
    Path | None,
    option(CACHE, "Folder for decoded pictures; see adgan cache info.", envvar="ADGAN_CACHE_DIR"),
]
ValueRangeOption = Annotated[
    str | None,
    option(
        PICTURES,
        "Values that become black and white in pictures deeper than 8 bits; default: those of the"
        " set, without single outliers.",
        "--range",
        metavar="LOW..HIGH",
    ),
]


@dataclass(frozen=True)
class InputOptions:
    """Which images are meant."""

    paths: Paths = None
    recursive: Annotated[
        bool, option(PICTURES, "Look into sub-folders.", "--recursive/--no-recursive")
    ] = True
    include: Annotated[
        list[str] | None,
        option(PICTURES, "Take only what this pattern matches, as in .gitignore; may be repeated."),
    ] = None
    exclude: Annotated[
        list[str] | None,
        option(PICTURES, "Leave out what this pattern matches, as in .gitignore; may be repeated."),
    ] = None
    files_from: Annotated[
        str | None,
        option(PICTURES, "Read paths from FILE, one a line; - is standard input.", metavar="FILE"),
    ] = None
    follow_links: Annotated[bool, option(PICTURES, "Follow symbolic links.", "--follow-links")] = (
        False
    )

    def __bool__(self) -> bool:
        return bool(self.paths) or self.files_from is not None

    @cached_property
    def expanded(self) -> list[Path]:
        """The paths, with patterns expanded that a shell left as they are."""
        from adgan_cli.images.selection import expand_patterns

        return expand_patterns(self.paths or [])

    def listing(self, reporter: Reporter, *, note_others: bool = True) -> "Listing":
        """List the images, and mention links left alone and files that are no images."""
        from adgan_cli.images.find import count_kinds, list_inputs
        from adgan_cli.images.selection import Selection

        include, exclude = tuple(self.include or ()), tuple(self.exclude or ())
        selection = Selection(self.recursive, include, exclude, self.follow_links)
        with _open_list(self.files_from) as stream:
            listing = list_inputs(self.expanded, selection, files_from=stream)
        if listing.links:
            left = plural(listing.links, "symbolic link")
            reporter.info(f"note: left {left} alone; --follow-links reads them")
        if listing.passed_over and note_others:
            count = plural(sum(listing.passed_over.values()), "file")
            kinds = count_kinds(listing.passed_over)
            reporter.info(f"note: passed over {count} of other kinds: {kinds}")
        return listing


@dataclass(frozen=True)
class ReaderOptions:
    """How images are read: by how many threads, and where decoded ones are kept."""

    cache_dir: CacheDir = None
    no_cache: Annotated[bool, option(CACHE, "Keep no decoded pictures.", "--no-cache")] = False
    cache_limit: Annotated[
        str,
        option(
            CACHE, "Bytes to keep at most; the longest unused go first.", envvar="ADGAN_CACHE_LIMIT"
        ),
    ] = "10GB"
    workers: Annotated[
        int | None,
        option(
            MACHINE,
            "Threads that read pictures; default: one a core, at most 8.",
            "-j",
            "--workers",
            min=1,
            max=1_024,
        ),
    ] = None

    max_pixels: Annotated[
        str | None,
        option(
            PICTURES,
            "Refuse larger pictures, such as 400MP; default: 179MP, as decompression bombs.",
            show_default=False,
        ),
    ] = None

    def __post_init__(self) -> None:
        parse_size(self.cache_limit, "--cache-limit")  # refused before any work
        if self.max_pixels is not None:
            parse_pixels(self.max_pixels, "--max-pixels")

    def cache(self, reporter: Reporter) -> "CacheConfig | None":
        """Return where decoded images are kept; None with --no-cache or without a place."""
        from adgan_cli.images.cache import CacheConfig, default_cache_folder

        if self.no_cache:
            return None
        limit = parse_size(self.cache_limit, "--cache-limit")
        try:
            return CacheConfig(self.cache_dir or default_cache_folder(), limit)
        except ConfigError as error:
            reporter.info(f"note: no cache of decoded pictures: {error}")
            return None

    def reader(self, preprocessing: "Preprocessing", reporter: Reporter) -> "Reader":
        """Return what reads images like this, and mentions when the cache had to be given up."""
        from adgan_cli.images.open_image import limit_pixels
        from adgan_cli.images.reader import Reader

        if self.max_pixels is not None:
            limit_pixels(parse_pixels(self.max_pixels, "--max-pixels"))

        def cache_disabled(reason: str) -> None:
            reporter.info(f"note: no cache of decoded pictures: {reason}")

        return Reader(preprocessing, self.workers, self.cache(reporter), cache_disabled)


@dataclass(frozen=True)
class SearchOptions:
    """How to search: what is not given is the model's own setting, or the preset's."""

    preset: Annotated[
        SearchName | None,
        option(SEARCH_PANEL, "Search with these settings instead; options beside it win."),
    ] = None
    settings: Annotated[Overrides[SearchConfig], Fields(panel=SEARCH_PANEL)] = Overrides({})

    def config(self, model: "Model", reporter: Reporter, *, by: By | None = None) -> SearchConfig:
        """Return how to score with `model`, and say what of it has no effect or is left out.

        by: what to score by, whatever the options and the model say.
        """
        base = None if self.preset is None else SEARCHES[self.preset]
        config = self.settings.over(model.default_search(base))
        config = config if by is None else replace(config, by=by)
        unused = [flag(name) for name in self.settings.given if name not in ("by", "adjust")]
        if config.by == "features" and unused:
            does = "does" if len(unused) == 1 else "do"
            reporter.info(
                f"note: {' and '.join(unused)} {does} nothing --by features, which searches for "
                "nothing; --by all and --by reconstruction do"
            )
        if config.by != "features" and config.precision == "bf16":
            warn_of_slow_bf16(model)
        if config.by != "reconstruction" and model.features is not None:
            for name, reason in model.features.missing.items():
                status(f"warning: scoring without the {name} features: {reason}")
        return config


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """What score and rank take alike."""

    model: ModelPath = DEFAULT_MODEL
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Score only what is new or changed since the last time."),
    ] = False
    reporter: VerboseReporter
    search: SearchOptions
    inputs: InputOptions
    reading: ReaderOptions
    batch_size: Annotated[
        int | None,
        option(
            MACHINE,
            "Pictures searched for at once; default: as many as fit.",
            "-b",
            "--batch-size",
            min=1,
            max=65_536,
        ),
    ] = None
    device: Device = "auto"

    def open(self, watch: Stopwatch) -> "tuple[Listing, Model]":
        """List the images and load the model."""
        with watch("finding pictures"):
            listing = self.inputs.listing(self.reporter)
        with watch("loading the model"):
            return listing, open_model(self.model, self.device, self.reporter)

    def reader(self, model: "Model") -> "Reader":
        """Return what reads images as the model needs them."""
        return self.reading.reader(model.preprocessing(), self.reporter)

    def start(self, watch: Stopwatch, journal: Path | None) -> "ScoringRun":
        """List the images, load the model, and prepare to score them."""
        from adgan_cli.scoring.run import ScoringRun

        listing, model = self.open(watch)
        return ScoringRun(
            model,
            listing,
            self.search.config(model, self.reporter),
            reader=self.reader(model),
            batch_size=self.batch_size,
            journal=journal,
            resume=self.resume,
            processes=join(),
        )


def warn_of_slow_bf16(model: "Model") -> None:
    """Warn where --precision bf16 makes a search slower."""
    from adgan_cli.engine.device import multiplies_bf16

    if not multiplies_bf16(model.device):
        status(
            f"warning: this {model.device.type} does not multiply bfloat16 natively: --precision "
            "bf16 takes many times as long as fp32"
        )


def note_eager_search(reason: str | None, reporter: Reporter) -> None:
    """Mention why a search was not replayed as a CUDA graph, where it could have been."""
    if reason is not None:
        reporter.info(f"note: the search ran step by step, not as one CUDA graph: {reason}")


def given_ranges(value_range: str | None) -> "Ranges":
    """Return the ranges that --range sets; none where it is not given."""
    from adgan_cli.images.value_ranges import parse_range

    return () if value_range is None else parse_range(value_range)


def warn_of_ranges(measured: "Iterable[ValueRange]") -> None:
    """Warn of ranges by which most images lose their levels."""
    for warning in filter(None, (one.warning() for one in measured)):
        status(f"warning: {warning}")


def warn_of_bf16(precision: str, device: "torch.device") -> None:
    """Warn of bfloat16 where the device has no products of it: nine times slower on a CPU."""
    from adgan_cli.engine.device import multiplies_bf16

    if precision == "bf16" and not multiplies_bf16(device):
        status(
            f"warning: this {device.type} has no arithmetic of its own for bfloat16, which is "
            "several times slower here than --precision fp32"
        )


def open_model(path: Path, device: str, reporter: Reporter) -> "Model":
    """Load a model onto the device that --device names."""
    from adgan_cli.engine.device import pick_device
    from adgan_cli.engine.models.files import load_model

    chosen = pick_device(device, join().local_rank)
    model = load_model(path, chosen)
    digest = model.digest[:12]
    reporter.detail(f"model {path} ({digest}), {model.config.size} px, on {chosen.type}")
    return model


@contextmanager
def _open_list(files_from: str | None) -> Iterator[IO[bytes] | None]:
    """Open the stream that --files-from names. Raises ConfigError if it cannot be."""
    if files_from is None:
        yield None
    elif files_from == "-":
        if sys.stdin is None:
            raise ConfigError("--files-from -: standard input is closed")
        yield sys.stdin.buffer
    else:
        try:
            stream = open(files_from, "rb")
        except OSError as error:
            raise ConfigError(f"--files-from {files_from}: {error.strerror}") from error
        with stream:
            yield stream
