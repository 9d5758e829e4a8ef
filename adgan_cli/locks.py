"""One process at a time owns an output folder: two runs into one would mix their files.

The lock is the system's own, so that it ends with the process, also by kill -9. Its file holds who
has it, for the message to the others. That is also why no library does this: filelock, of some
versions, empties the file before it knows whether it is free.
"""

import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from adgan_cli.errors import ConfigError

LOCK_FILE = ".adgan.lock"  # in the folder: so that it is one whatever name the folder goes by
_MAX_OWNER = 1200  # bytes of it, four for each character
_LOCKED_BYTE = 1 << 20  # on Windows, where what is locked cannot be read: far behind the text


@contextmanager
def owning(folder: Path) -> Iterator[str]:
    """Own `folder` within the block, made if it is missing; one that is left empty goes again.

    Yields a note where that is not possible, as not every file system has locks; the work goes on.
    A folder that cannot be written is left to whatever writes there. Raises ConfigError, naming the
    process, where another one owns it.
    """
    new: list[Path] = []
    with suppress(OSError):
        new = _make(folder)
    file, note = None, ""
    try:
        file = _lock(folder / LOCK_FILE)
    except OSError as error:
        if os.access(folder, os.W_OK):
            note = (
                f"{folder} cannot be locked ({error.strerror or error}); see to it that no other "
                "process writes into it"
            )
    try:
        yield note
    finally:
        if file is not None:
            _release(file, folder / LOCK_FILE)
        for parent in new:
            with suppress(OSError):  # something is in there now
                parent.rmdir()


def _make(folder: Path) -> list[Path]:
    """Make a folder; return what was missing of it, the innermost first."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _lock(path: Path) -> BinaryIO:
    """Lock a file and write into it who has it; raise OSError where that cannot be."""
    while True:
        is_new = not path.exists()
        file = _open(path)
        with ExitStack() as stack:
            stack.callback(file.close)
            try:
                is_ours = _try_lock(file)
            except OSError:  # this file system has no locks
                if is_new:
                    path.unlink()
                raise
            if not is_ours:
                owner = file.read(_MAX_OWNER).decode("utf-8", "replace").strip()
                raise ConfigError(
                    f"{path.parent} is in use by another process, "
                    f"{owner or 'just started'}; wait until it has ended, or use another folder"
                )
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    if file.writable():
                        file.truncate(0)
                        file.write(_about_us())
                    stack.pop_all()
                    return file
            # else its owner removed it in between: the lock is on a file that no one sees


def _open(path: Path) -> BinaryIO:
    """Open a lock file, made if it is missing; one of another user can be locked if only read."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.fdopen(os.open(path, os.O_RDONLY), "rb", buffering=0)
    return os.fdopen(descriptor, "r+b", buffering=0)


def _release(file: BinaryIO, path: Path) -> None:
    if os.name == "nt":  # which removes nothing that is open
        file.close()
    with suppress(OSError):
        path.unlink()
    file.close()


def _try_lock(file: BinaryIO) -> bool:
    """Lock an open file, unless another process has done so; raise OSError where nothing can."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    finally:
        file.seek(0)
    return True


def _about_us() -> bytes:
    program = "adgan" if Path(sys.argv[0]).stem in ("__main__", "adgan") else sys.argv[0]
    command = shlex.join([program, *sys.argv[1:]])
    text = f"{os.getpid()} on {socket.gethostname()} ({command})"
    if len(text) > _MAX_OWNER // 4:
        text = text[: _MAX_OWNER // 4 - 4] + "...)"
    return text.encode("utf-8", "backslashreplace") + b"\n"
