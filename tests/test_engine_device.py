"""The device that was asked for, or an error; never another one."""

import pytest
import torch

from adgan_cli.engine.device import free_memory, full_float32, pick_device, pick_precision
from adgan_cli.errors import ConfigError

CPU = torch.device("cpu")


def test_auto_finds_some_device():
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["cuda", "cuda:99", "mps", "tpu", "cuda:x", "meta"])
def test_an_absent_device_is_an_error_that_names_the_flag(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device"):
        pick_device(name)


def test_precision_is_what_was_asked_for():
    assert pick_precision("fp32", CPU) == "fp32"
    assert pick_precision("bf16", CPU) == "bf16"
    with pytest.raises(ConfigError, match="--precision"):
        pick_precision("fp8", CPU)


def test_auto_precision_follows_the_hardware(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert pick_precision("auto", CPU) == "fp32"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert pick_precision("auto", CPU) == "bf16"


def test_some_memory_is_free():
    assert free_memory(CPU) > 2**20


def test_full_float32_is_set_and_set_back():
    torch.set_float32_matmul_precision("high")
    try:
        with full_float32():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
