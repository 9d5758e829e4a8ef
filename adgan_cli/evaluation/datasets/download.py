"""Fetch the files of a published data set, and check that they are the published ones."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

from adgan_cli.atomic import replacing
from adgan_cli.errors import ConfigError

_TIMEOUT = 60  # seconds without an answer
_BLOCK = 2**20  # bytes


def fetch(name: str, url: str, path: Path, md5: str) -> None:
    """Download a file of a data set; raise ConfigError unless its MD5 is the published one."""
    digest = hashlib.md5(usedforsecurity=False)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        for block in _received(name, url, path):
            digest.update(block)
            file.write(block)
        if digest.hexdigest() != md5:
            raise _failed(name, url, path, f"what came has not the MD5 {md5}")


@contextmanager
def reading(name: str, root: Path) -> Iterator[None]:
    """Turn the file system's refusals within the block into a ConfigError that names the file."""
    try:
        yield
    except OSError as error:
        where = error.filename or root
        raise ConfigError(f"cannot read {name} in {where}: {error.strerror or error}") from error


def require_md5(content: bytes, md5: str, path: Path) -> None:
    """Raise ConfigError unless `content`, that of `path`, has the MD5 that was published."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise damaged(path, f"its MD5 is not {md5}")


def absent(name: str, path: Path, remedy: str) -> ConfigError:
    """Say which file of a data set is not there, and what to put where."""
    return ConfigError(
        f"{name}: there is no {path}; put {remedy}, name another --data-root, or add --download"
    )


def damaged(path: Path, reason: str) -> ConfigError:
    """Say why a file that is there cannot be the published one."""
    return ConfigError(f"{path} is not what it should be: {reason}; remove it and get it again")


def _received(name: str, url: str, path: Path) -> Iterator[bytes]:
    try:
        with urlopen(Request(url, headers={"User-Agent": "adgan"}), timeout=_TIMEOUT) as response:
            while block := response.read(_BLOCK):
                yield block
    except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
        raise _failed(name, url, path, " ".join(str(error).split())[:300]) from error


def _failed(name: str, url: str, path: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"cannot get {name} from {url}: {reason}; put it into {path.parent} yourself"
    )
