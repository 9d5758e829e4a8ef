"""The device of the name that was given, or an error; never another one."""

import os

import pytest
import torch

from adgan_cli.engine.device import (
    deterministic_convolutions,
    free_memory,
    full_float32,
    multiplies_bf16,
    multiplies_tf32,
    pick_device,
    pick_precision,
    tf32_products,
)
from adgan_cli.errors import ConfigError

CPU = torch.device("cpu")


def test_auto_is_the_cpu_where_there_is_no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == CPU


@pytest.mark.parametrize("name", ["cuda", "cuda:99", "mps", "tpu", "cuda:x", "meta"])
def test_an_absent_device_is_an_error_that_names_the_flag(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device"):
        pick_device(name)


def test_a_precision_that_is_named_is_taken():
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


def test_bfloat16_is_multiplied_where_one_of_its_instructions_is(monkeypatch):
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    for name in names:
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not multiplies_bf16(CPU) and not multiplies_bf16(torch.device("mps"))
    for name in names:
        with monkeypatch.context() as patch:
            patch.setattr(torch.cpu, name, lambda: True, raising=False)
            assert multiplies_bf16(CPU)


def test_free_memory_is_part_of_what_the_machine_has(monkeypatch):
    sizes = {"SC_AVPHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    assert free_memory(CPU) == 4_096_000
    monkeypatch.delattr(os, "sysconf")  # Windows
    assert free_memory(CPU) == 4 * 2**30


def test_full_float32_is_set_and_set_back():
    torch.set_float32_matmul_precision("high")
    try:
        with full_float32():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_tf32_is_let_in_for_a_while_only_and_for_cuda_alone():
    def flags():
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        return matmul.allow_tf32, cudnn.allow_tf32

    with full_float32():
        assert flags() == (False, False)
        with tf32_products():
            assert flags() == (True, True)
            a = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
            exact = (a.double() @ a.double()).float()
            torch.testing.assert_close(a @ a, exact, rtol=1e-6, atol=1e-6)
        assert flags() == (False, False)


def test_only_cuda_devices_from_8_0_on_have_tf32(monkeypatch):
    assert not multiplies_tf32(CPU) and not multiplies_tf32(torch.device("mps"))
    for capability, has in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(
            torch.cuda, "get_device_capability", lambda device, result=capability: result
        )
        assert multiplies_tf32(torch.device("cuda", 0)) is has


def test_kernels_are_deterministic_for_a_while_only(monkeypatch):
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "benchmark", True)
    before = cudnn.deterministic
    with deterministic_convolutions():
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
    assert (cudnn.deterministic, cudnn.benchmark) == (before, True)
