"""A page that needs nothing else: one file, names escaped, nothing fetched, one known script."""

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from adgan_cli.atomic import write_text
from adgan_cli.text import escape_surrogates, plural

if TYPE_CHECKING:
    from jinja2 import Environment  # at run time only when a page is made

PIXELATED = 64  # pictures up to this size are enlarged without smoothing, to judge their pixels
_NAME, _FOLDER = 40, 28  # characters shown of a file's name and of its folder


def write_page(path: Path, template: str, script: str = "", **values: object) -> None:
    """Write a page from one of the templates beside this module.

    script: the name of the file with what it may run; the page's policy allows that by its hash,
    and nothing else.
    """
    from markupsafe import Markup

    code = _source(script) if script else ""
    html = (
        _environment()
        .get_template(template)
        .render(policy=_policy(code), script=Markup(code), pixelated=PIXELATED, **values)
    )
    write_text(path, escape_surrogates(html))  # names that are not UTF-8, wherever they stand


def require_local_link(href: str | None) -> str | None:
    """The link, if it stays on this computer; ValueError if not."""
    if href is not None:
        target = urlsplit(href)
        if target.scheme not in ("", "file") or target.netloc:
            raise ValueError(f"href must stay on this computer, got {href!r}")
    return href


def rounded(number: float) -> str:
    """Four significant digits, without an exponent where a person would not write one."""
    text = f"{number:#.4g}".removesuffix(".")
    return f"{float(text):.0f}" if "e+" in text and abs(number) < 1e9 else text


def format_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as a page lists them, in an order that summary.json keeps."""
    return {name.replace("_", " "): str(value) for name, value in sorted(settings.items())}


def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["rounded"] = rounded
    environment.filters["plural"] = plural
    environment.filters["number"] = lambda n: f"{n:,}"
    environment.filters["data_uri"] = _data_uri
    environment.filters["folder"] = lambda name: _elided(name.rpartition("/")[0], _FOLDER)
    environment.filters["file"] = lambda name: _elided(name.rpartition("/")[2], _NAME)
    environment.filters["words"] = lambda name: re.split("(?<=[_-])", name)
    return environment


def _source(name: str) -> str:
    return (resources.files("adgan_cli.reports") / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    parts = ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "img-src data:"]
    parts.append("style-src 'unsafe-inline'")
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        parts.append(f"script-src 'sha256-{digest}'")
    return "; ".join(parts)


def _data_uri(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def _elided(text: str, limit: int) -> str:
    """Cut the middle: both ends of a long file name tell it from its neighbours."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[head + 1 - limit :]}"
