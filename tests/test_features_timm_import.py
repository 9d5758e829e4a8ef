"""timm is imported where it can be, and what to do is said where it cannot."""

import sys
from types import SimpleNamespace

import pytest
import torch

from adgan_cli.engine.features import timm_import
from adgan_cli.engine.features.timm_import import import_timm
from adgan_cli.errors import ConfigError

MISSING = "operator torchvision::nms does not exist"


class Declared:
    """Notes what operators are declared, in place of torch's own library."""

    def __init__(self, name: str, kind: str) -> None:
        self.operators: list[str] = []

    def define(self, schema: str) -> None:
        self.operators.append(schema.partition("(")[0])


@pytest.fixture
def imports(monkeypatch):
    """imports(one, two): what the first, the second ... import of timm ends with."""

    def set_outcomes(*outcomes):
        left = list(outcomes)

        def attempt(name):
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(timm_import.importlib, "import_module", attempt)
        monkeypatch.setattr(timm_import, "_libraries", [])
        monkeypatch.setattr(torch.library, "Library", Declared)
        monkeypatch.setattr(timm_import.sys, "modules", dict(sys.modules))

    return set_outcomes


def test_without_timm_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install 'adgan\[features\]'"):
        import_timm()


def test_a_torchvision_for_another_torch_is_good_enough(imports):
    timm = SimpleNamespace()
    imports(RuntimeError(MISSING), timm)
    sys.modules["torchvision.extension"] = SimpleNamespace()  # imported by half
    assert import_timm() is timm
    assert [one.operators for one in timm_import._libraries] == [["nms", "qnms"]]
    assert not [name for name in sys.modules if name.split(".")[0] == "torchvision"]


def test_what_cannot_be_helped_is_one_line(imports):
    for outcomes in ([RuntimeError(MISSING)] * 2, [RuntimeError("other")]):
        imports(*outcomes)
        with pytest.raises(ConfigError, match="the torchvision that belongs to your torch"):
            import_timm()
