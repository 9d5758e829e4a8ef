"""torchvision, also beside a torch that it was not built for: we need none of its operators."""

import re
import sys
from importlib import import_module
from types import ModuleType

import torch

from adgan_cli.errors import ConfigError

_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")
_declared: list[torch.library.Library] = []  # their declarations last as long as they do


def torchvision() -> ModuleType:
    """Import torchvision. Raises ConfigError, with the remedy, where that is impossible.

    The one on PyPI for Linux is built for CUDA. Beside a CPU build of torch its library of
    operators does not load, and the import ends where it describes the first of them. Data sets
    and AlexNet use none, so a bare declaration of each one missed is enough.
    """
    missed: set[str] = set()
    while True:
        try:
            return import_module("torchvision")
        except Exception as error:  # also AttributeError and the like, from versions far apart
            found = _MISSING.fullmatch(str(error))
            if isinstance(error, ModuleNotFoundError) and error.name == "torchvision":
                raise ConfigError(_remedy("torchvision is not installed")) from error
            if found is None or found[1] in missed:
                reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
                raise ConfigError(_remedy(f"torchvision cannot be imported ({reason})")) from error
            missed.add(found[1])
            _declare(found[1])
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported


def _declare(operator: str) -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define(f"{operator}(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
    _declared.append(library)


def _remedy(what: str) -> str:
    return f"{what}; install the torchvision that fits torch {torch.__version__}, see pytorch.org"
