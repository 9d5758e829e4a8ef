"""What --precision comes to: a table of settings and devices."""

from dataclasses import replace

import pytest
import torch

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.search import precision as module
from adgan_cli.engine.search.precision import effective_precision
from adgan_cli.errors import ConfigError

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda", 0), torch.device("mps")


@pytest.fixture
def new_gpu(monkeypatch):
    monkeypatch.setattr(module, "multiplies_tf32", lambda device: device.type == "cuda")


@pytest.mark.parametrize(
    ("device", "theta", "asked", "expected"),
    [
        (CPU, "none", "auto", "fp32"),
        (MPS, "none", "auto", "fp32"),
        (CUDA, "none", "auto", "tf32"),
        (CUDA, "none", "fp32", "fp32"),
        (CUDA, "none", "tf32", "tf32"),
        (CUDA, "none", "bf16", "bf16"),
        (CPU, "none", "bf16", "bf16"),
        (CUDA, "per-point", "auto", "fp32"),
        (CUDA, "per-image", "auto", "fp32"),
        (CUDA, "per-point", "fp32", "fp32"),
    ],
)
def test_only_a_search_that_leaves_theta_takes_fewer_bits(new_gpu, device, theta, asked, expected):
    config = replace(PAPER_SEARCH, theta=theta, precision=asked)
    assert effective_precision(config, device) == expected


def test_a_step_of_zero_leaves_theta_too(new_gpu):
    assert effective_precision(replace(PAPER_SEARCH, lr_theta=0.0), CUDA) == "tf32"


def test_a_gpu_without_tf32_computes_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    config = replace(PAPER_SEARCH, theta="none")
    assert effective_precision(config, CUDA) == "fp32"
    with pytest.raises(ConfigError, match="--precision tf32: cuda does not"):
        effective_precision(replace(config, precision="tf32"), CUDA)


def test_tf32_is_refused_where_nothing_multiplies_it():
    config = replace(PAPER_SEARCH, theta="none", precision="tf32")
    with pytest.raises(ConfigError, match="--precision tf32: cpu does not .*; try --precision"):
        effective_precision(config, CPU)
