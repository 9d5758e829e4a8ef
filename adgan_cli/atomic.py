"""Write files whole: a reader sees the old or the new one, also after kill -9 or a full disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adgan_cli.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it over `path` if the block succeeds.

    Makes the parent folder if it is missing. Raises OutputError, naming `path`, when the file
    system refuses; the old file is then untouched.
    """
    temporary: Path | None = None
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=".tmp", dir=path.parent)
            temporary = Path(name)
            os.close(handle)
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)


@contextmanager
def writing(where: str | Path) -> Iterator[None]:
    """Turn what the file system refuses within the block into an OutputError that names `where`."""
    try:
        yield
    except BrokenPipeError:  # the reader has had enough: that ends a command quietly
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {where}: {reason}; free space or write elsewhere"
        ) from error


def sweep(path: Path) -> None:
    """Remove the temporary files that writers of `path` left when they were killed."""
    for entry in path.parent.glob(".*.tmp"):
        if entry.name.startswith(_prefix(path)):
            entry.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    return f".{path.name[:60]}."  # the temporary name must not be too long where the name is not


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def begins_with(path: Path, text: str) -> bool:
    """Tell whether a file begins with `text`: the mark of one that we wrote."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(len(text)) == text
    except (OSError, UnicodeDecodeError):
        return False


def _umask() -> int:
    # mkstemp makes files only their owner can read; results are for whoever the umask says
    mask = os.umask(0)
    os.umask(mask)
    return mask
