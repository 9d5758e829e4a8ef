"""Options that several commands share, and what they amount to."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from adgan_cli.cli.console import parse_size
from adgan_cli.errors import ConfigError

if TYPE_CHECKING:
    from adgan_cli.images.cache import CacheConfig
    from adgan_cli.images.selection import Selection

MODEL, TRAINING, OUTPUT, MACHINE = "Model", "Training", "Output", "Machine"
READING, CACHE = "Pictures", "Cache"

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Folders, pictures, .zip or .tar archives, LMDB folders, or a mix.",
        show_default=False,
    ),
]
ModelPath = Annotated[
    Path,
    typer.Option(
        "-m", "--model", envvar="ADGAN_MODEL", help="A model directory or a .safetensors file."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        envvar="ADGAN_DEVICE", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=MACHINE
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "-j", "--workers", min=1, help="Threads that read pictures.", rich_help_panel=MACHINE
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]

Recursive = Annotated[
    bool,
    typer.Option(
        "--recursive/--no-recursive", help="Look into sub-folders.", rich_help_panel=READING
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        help="Only what this pattern matches, as in .gitignore; may be repeated.",
        rich_help_panel=READING,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        help="Nothing this pattern matches, as in .gitignore; may be repeated.",
        rich_help_panel=READING,
    ),
]
FollowLinks = Annotated[
    bool,
    typer.Option("--follow-links", help="Follow symbolic links.", rich_help_panel=READING),
]
FilesFrom = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Read paths from FILE, one a line; - is standard input.",
        rich_help_panel=READING,
    ),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        envvar="ADGAN_CACHE_DIR", help="Where decoded pictures are kept.", rich_help_panel=CACHE
    ),
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Keep no decoded pictures.", rich_help_panel=CACHE)
]
CacheLimit = Annotated[
    str,
    typer.Option(
        envvar="ADGAN_CACHE_LIMIT",
        help="Bytes to keep at most; the longest unused go first.",
        rich_help_panel=CACHE,
    ),
]

DEFAULT_MODEL = Path("adgan-model")
DEFAULT_LIMIT = "10GB"


def selection(
    recursive: bool, include: list[str] | None, exclude: list[str] | None, follow_links: bool
) -> "Selection":
    """What of a folder is meant, from the options that say it."""
    from adgan_cli.images.selection import Selection

    return Selection(recursive, tuple(include or ()), tuple(exclude or ()), follow_links)


def cache_config(folder: Path | None, no_cache: bool, limit: str) -> "CacheConfig | None":
    """Where decoded pictures are kept, from the options that say it; None with --no-cache."""
    from adgan_cli.images.cache import CacheConfig, default_cache_folder

    bytes_kept = parse_size(limit, "--cache-limit")
    return None if no_cache else CacheConfig(folder or default_cache_folder(), bytes_kept)


@contextmanager
def opened_list(files_from: str | None) -> Iterator[IO[bytes] | None]:
    """The stream that --files-from names, open. Raises ConfigError if it cannot be."""
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
