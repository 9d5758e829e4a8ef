"""Import timm, which is an extra, also beside a torchvision that does not fit the torch there."""

import importlib
import sys
import warnings
from types import ModuleType

import torch

from adgan_cli.errors import ConfigError

INSTALL = "pip install 'adgan[features]'"
# of torchvision, and what they take: a CPU build of torch cannot load those of PyPI's torchvision
_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_libraries: list[torch.library.Library] = []  # operators last as long as the library they are of


def import_timm() -> ModuleType:
    """Import timm; ConfigError with the remedy where that cannot be."""
    try:
        return _import()
    except ImportError as error:
        raise ConfigError(
            f"pretrained features need timm, which cannot be imported ({error}): {INSTALL}"
        ) from error
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _libraries:
            raise _unfit(error) from error
    # Its operators are missing, which timm never calls: declared, they let torchvision be imported.
    for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "timm")]:
        del sys.modules[name]  # imported by half
    library = torch.library.Library("torchvision", "DEF")
    for operator in _OPERATORS:
        library.define(operator + _SCHEMA)
    _libraries.append(library)
    try:
        return _import()
    except (ImportError, RuntimeError) as error:
        raise _unfit(error) from error


def _import() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own insides
        return importlib.import_module("timm")


def _unfit(error: Exception) -> ConfigError:
    return ConfigError(
        f"pretrained features need timm, which cannot be imported ({error}): "
        "install the torchvision that belongs to your torch"
    )
