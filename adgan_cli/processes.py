"""Several processes at the work of one command, as PyTorch's torchrun starts them.

torchrun gives each process a rank in its environment and lends all of them a small store of keys
and values. That is enough to agree on the work, to share it and to count what is done; gradients
are summed over a process group (engine/distributed.py). The main process, of rank 0, alone writes
messages, and files other than journals.

Waiting is done here, by asking the store again and again, and not by torch.distributed's own
barriers and broadcasts: those block in C++, where Ctrl-C and SIGTERM are not heeded.

No torch at the top: nothing here costs anything where a command runs alone.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from adgan_cli.atomic import writing
from adgan_cli.config import canonical_json, first_difference
from adgan_cli.errors import ConfigError, ProcessError

Result = TypeVar("Result")

TIMEOUT = 60.0  # seconds until a file of another machine shows, as network drives have caches


@dataclass(frozen=True)
class Processes:
    """This process among those that do the work of one command."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0  # among those on this machine
    store: Any = None  # torch.distributed.Store, where there are several

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Select this process's part of so many things; parts differ by one at most."""
        start = count * self.rank // self.world_size
        return slice(start, count * (self.rank + 1) // self.world_size)

    def add(self, name: str, amount: int = 1) -> int:
        """Add to a number that all processes share; return the sum."""
        with self._reached() as store:
            return int(store.add(name, amount))

    def broadcast(self, name: str, value: bytes) -> None:
        """Send a value to all processes, once."""
        with self._reached() as store:
            store.set(name, value)

    def receive(self, name: str) -> bytes:
        """Wait for the value that a process sends by this name."""
        with self._reached() as store:
            _wait_until(lambda: store.check([name]))
            return bytes(store.get(name))

    def barrier(self, name: str) -> None:
        """Wait for all the others, however long they take."""
        self.add(name)
        with self._reached() as store:
            _wait_until(lambda: store.add(name, 0) == self.world_size)

    def main_first(self, name: str, work: Callable[[], Result]) -> Result:
        """Do work once on each machine, then in its other processes, from the caches."""
        if self.world_size == 1:
            return work()
        done = [work()] if self.local_rank == 0 else []
        self.barrier(name)
        return done[0] if done else work()

    def require_equal(self, about: Mapping[str, Any]) -> None:
        """Raise ConfigError, naming a difference, unless all processes are about to do the same."""
        if self.is_main:
            self.broadcast("about", canonical_json(about).encode())
        different = first_difference(json.loads(self.receive("about")), about)
        if different:
            name, main, here = different
            raise ConfigError(
                f"process {self.rank} on {socket.gethostname()} has {name} {here}, process 0 has "
                f"{main}; all need the same adgan, model, settings and pictures"
            )
        self.barrier("agreed")

    def require_shared(self, folder: Path, patience: float = TIMEOUT) -> None:
        """Raise ConfigError unless all processes, whatever their machines, see one `folder`."""
        if self.is_main:
            name = f".adgan-{os.getpid()}-{time.time_ns()}.tmp"
            with writing(folder):
                (folder / name).touch()
            self.broadcast("token", name.encode())
        token = folder / self.receive("token").decode()
        if not _wait_until(token.exists, patience):
            raise ConfigError(
                f"process {self.rank} on {socket.gethostname()} does not see what process 0 "
                f"writes into {os.path.abspath(folder)}: give an -o that all machines share"
            )
        self.barrier("seen")
        if self.is_main:
            token.unlink(missing_ok=True)

    @contextmanager
    def _reached(self) -> Iterator[Any]:
        assert self.store is not None, "a single process has no store"
        try:
            yield self.store
        except RuntimeError as error:  # torch's errors of the network are such
            raise ProcessError(
                f"process 0 cannot be reached any more ({str(error).splitlines()[0]}); "
                "start the same command again with --resume"
            ) from error


SINGLE = Processes()


@cache
def join() -> Processes:
    """Join the processes that torchrun started; a single one where it was not used."""
    rank, world_size = rank_from_env()
    if world_size == 1:
        return SINGLE
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE says {world_size} processes and {missing[0]} is not set; "
            "start with torchrun, or unset WORLD_SIZE"
        )
    from torch import distributed as dist

    if not dist.is_available():
        raise ConfigError(
            "this build of torch has no torch.distributed, so it cannot work in several "
            "processes; start without torchrun, or install another build"
        )
    try:
        store, _, _ = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
        name = _common_name(store, rank, world_size)
        store = dist.PrefixStore(name, store)  # type: ignore[attr-defined]
    except (RuntimeError, ValueError) as error:
        raise ProcessError(
            f"process {rank} cannot reach process 0 at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} ({str(error).splitlines()[0]}); see torchrun's --rdzv-*"
        ) from error
    return Processes(rank, world_size, int(os.environ.get("LOCAL_RANK", 0)), store)


def rank_from_env() -> tuple[int, int]:
    """Read the rank of this process, and how many there are, from the environment."""
    if "RANK" not in os.environ:  # a WORLD_SIZE alone is somebody else's
        return 0, 1
    try:
        rank, world_size = int(os.environ["RANK"]), int(os.environ.get("WORLD_SIZE", 1))
    except ValueError:
        raise ConfigError("RANK and WORLD_SIZE must be numbers; start with torchrun") from None
    return (rank, world_size) if world_size > 1 else (0, 1)


def is_worker() -> bool:
    """Tell whether another process is the main one."""
    return os.environ.get("RANK", "0") != "0" and os.environ.get("WORLD_SIZE", "1") != "1"


def is_restart() -> bool:
    """Tell whether torchrun has started these processes again, because one had died."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def is_first_to_report(text: str) -> bool:
    """Tell whether no other process has reported this: a fault that all share is one line."""
    if not join.cache_info().currsize:  # so early that all have it
        return not is_worker()
    processes = join()
    if processes.store is None:
        return True
    try:
        return processes.add("said " + blake2b(text.encode("utf-8", "replace")).hexdigest()) == 1
    except ProcessError:
        return True


def _common_name(store: Any, rank: int, world_size: int) -> str:
    """Agree on a name that is put before all keys in the store.

    torchrun keeps the store when it starts processes anew, with the keys of those before. So the
    main process takes a new name, and answers with it whoever asks by a key as new as that.
    """
    if rank:
        question = uuid4().hex
        store.set(f"question {rank}", question)
        _wait_until(lambda: store.check([question]))
        name: str = store.get(question).decode()
        store.add(name, 1)
        return name
    own_name = uuid4().hex
    answered: set[bytes] = set()

    def all_have_it() -> bool:
        for other in range(1, world_size):
            if store.check([f"question {other}"]):
                question = store.get(f"question {other}")
                if question not in answered:  # it may be of a process before: nobody reads that
                    answered.add(question)
                    store.set(question.decode(), own_name)
        return bool(store.add(own_name, 0) == world_size - 1)

    _wait_until(all_have_it)
    return own_name


def _wait_until(true: Callable[[], bool], patience: float = float("inf")) -> bool:
    """Ask again and again, so that signals are heeded; return whether it became true in time."""
    end, pause = time.monotonic() + patience, 0.001
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(0.2, 1.5 * pause)
    return True
