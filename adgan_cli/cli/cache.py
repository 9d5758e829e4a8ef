"""adgan cache: what is kept of decoded pictures, and how to delete it."""

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adgan_cli.cli.console import ErrorsAsLines, HelpfulCommand, escape_control, output, status
from adgan_cli.cli.options import CacheDir
from adgan_cli.text import escape_surrogates, format_bytes, plural

if TYPE_CHECKING:
    from adgan_cli.images.cache_folder import CachedSet

cache_app = typer.Typer(
    name="cache",
    cls=ErrorsAsLines,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Show or clear the cache of decoded pictures.\n\nExample: adgan cache info",
)


@cache_app.command(cls=HelpfulCommand)
def info(
    cache_dir: CacheDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what is kept, the last used first.

    Example: adgan cache info
    """
    from adgan_cli.images.cache import default_cache_folder
    from adgan_cli.images.cache_folder import cached_sets

    folder = cache_dir or default_cache_folder()
    sets = cached_sets(folder)
    total = sum(one.bytes for one in sets)
    if as_json:
        record = {
            "folder": escape_surrogates(str(folder)),
            "bytes": total,
            "sets": list(map(_record, sets)),
        }
        output(json.dumps(record, indent=2))
        return
    if sets:
        output(f"{'pictures':>12}{'size':>10}  {'last used':18}{'read as':50}of")
    for one in sets:
        output(escape_control(_line(one)))
    output(escape_control(f"{format_bytes(total)} in {plural(len(sets), 'set')}, in {folder}"))


@cache_app.command(cls=HelpfulCommand)
def clear(cache_dir: CacheDir = None) -> None:
    """Delete all decoded pictures.

    Commands that are using them go on without. Example: adgan cache clear
    """
    from adgan_cli.images.cache import default_cache_folder
    from adgan_cli.images.cache_folder import clear_cache

    folder = cache_dir or default_cache_folder()
    freed = clear_cache(folder)
    status(f"freed {format_bytes(freed)} in {folder}")


def _record(cached: "CachedSet") -> dict[str, Any]:
    return {
        "root": escape_surrogates(cached.root),
        "rules": json.loads(cached.preprocessing or "null"),
        "pictures": cached.images,
        "bytes": cached.bytes,
        "used": datetime.fromtimestamp(cached.used, timezone.utc).isoformat(timespec="seconds"),
    }


def _line(cached: "CachedSet") -> str:
    used = datetime.fromtimestamp(cached.used).strftime("%Y-%m-%d %H:%M")
    numbers = f"{cached.images:12,}{format_bytes(cached.bytes):>10}  {used:18}"
    return (
        f"{numbers}{_settings(cached.preprocessing):48}  {cached.root or 'unknown: it is damaged'}"
    )


def _settings(rules: str) -> str:
    """Write the preprocessing for people: alpha white, channels 3, fit crop, size 64."""
    settings = json.loads(rules or "{}")
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value)
