"""Write pages that need nothing else: one file, names escaped, nothing fetched or run but ours."""

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from adgan_cli.atomic import write_text
from adgan_cli.errors import ImageError
from adgan_cli.images.depth import Ranges
from adgan_cli.images.read import read_thumbnail
from adgan_cli.images.refs import ImageRef
from adgan_cli.text import escape_surrogates, plural

if TYPE_CHECKING:
    from jinja2 import Environment  # at run time only when a page is written

PAGE_FILE = "index.html"
PIXELATED = 64  # images up to this size are enlarged without smoothing, to judge their pixels
_THUMBNAIL = 320  # pixels of the longer side: sharp at 200 on a dense screen
_MAX_NAME, _MAX_FOLDER = 40, 28  # characters shown of a file's name and of its folder


def write_page(path: Path, template: str, script: str = "", **values: object) -> None:
    """Fill in one of the templates beside this module.

    script: the name of a file beside this module; the page's policy allows that code, by its hash,
    and no other.
    """
    from markupsafe import Markup

    code = _template_source(script) if script else ""
    html = (
        _environment()
        .get_template(template)
        .render(policy=_policy(code), script=Markup(code), pixelated=PIXELATED, **values)
    )
    write_text(path, escape_surrogates(html))  # names that are not UTF-8, wherever they stand


class Preview(NamedTuple):
    """What stands for an image on a page; both are None for one that can no longer be read."""

    thumbnail: bytes | None  # JPEG or PNG
    href: str | None  # link to the original; None too for one in an archive


def read_preview(
    item: ImageRef, out: Path, *, alpha: str, ranges: Ranges, max_bytes: int | None = None
) -> Preview:
    """Read what stands for an image on a page in `out`."""
    try:
        thumbnail = read_thumbnail(
            item, _THUMBNAIL, alpha=alpha, ranges=ranges, max_bytes=max_bytes
        )
    except ImageError:  # gone since it was scored: the page says so
        return Preview(None, None)
    return Preview(thumbnail, link(item.file, out) if item.file else None)


def link(path: Path, out: Path) -> str:
    """Write a file's address for a page in `out`: relative, so that the two can move together."""
    relative = relative_path(path, out)
    if os.path.isabs(relative):
        return path.resolve().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def relative_path(path: Path, start: Path) -> str:
    """Write a path as seen from the folder `start`; absolute where none leads there."""
    try:
        return os.path.relpath(path, start)
    except ValueError:  # another drive on Windows
        return str(path.resolve())


def require_local_link(href: str | None) -> str | None:
    """Return the link if it stays on this computer; raise ValueError if not."""
    if href is not None:
        target = urlsplit(href)
        if target.scheme not in ("", "file") or target.netloc:
            raise ValueError(f"href must stay on this computer, got {href!r}")
    return href


def rounded(number: float) -> str:
    """Round to four significant digits, without an exponent where a person would not write one."""
    text = f"{number:#.4g}".removesuffix(".")
    return f"{float(text):.0f}" if "e+" in text and abs(number) < 1e9 else text


def format_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Write settings as a page lists them, in an order that summary.json keeps."""
    return {name.replace("_", " "): _in_words(value) for name, value in sorted(settings.items())}


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(one)}" for name, one in value.items())
    return str(value)


def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_template_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["rounded"] = rounded
    environment.filters["plural"] = plural
    environment.filters["number"] = lambda n: f"{n:,}"
    environment.filters["data_uri"] = _data_uri
    environment.filters["folder"] = lambda name: _elide(name.rpartition("/")[0], _MAX_FOLDER)
    environment.filters["file"] = lambda name: _elide(name.rpartition("/")[2], _MAX_NAME)
    environment.filters["words"] = lambda name: re.split("(?<=[_-])", name)
    return environment


def _template_source(name: str) -> str:
    return (resources.files("adgan_cli.reports") / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    parts = ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "img-src data:"]
    parts.append("style-src 'unsafe-inline'")
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        parts.append(f"script-src 'sha256-{digest}'")
    return "; ".join(parts)


def _data_uri(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


def _elide(text: str, limit: int) -> str:
    """Cut out the middle of a long name: both ends distinguish it from its neighbours."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[head + 1 - limit :]}"
