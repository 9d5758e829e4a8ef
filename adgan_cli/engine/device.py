"""Choose the device that computes and the precision in which it trains fastest."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from adgan_cli.errors import ConfigError

PRECISIONS = ("auto", "fp32", "bf16")


def pick_device(name: str = "auto", index: int = 0) -> torch.device:
    """Find the device of this name; `auto` is CUDA, else Apple's MPS, else the CPU.

    index: of the CUDA device where the name has none; each of several processes takes its own.
    Raises ConfigError for a device that is named and absent: never a silent CPU run.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return pick_device(f"cuda:{index}")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device must be auto, cpu, cuda, cuda:N or mps, got {name}") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = index if device.index is None else device.index
        if index >= count:
            fewer = " or fewer processes" if device.index is None and index else ""
            raise ConfigError(
                f"--device {name}: this machine shows {count} CUDA devices; try cpu{fewer}"
            )
        return torch.device("cuda", index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("--device mps: not available on this machine; try cpu")
    if device.type not in ("cpu", "mps"):
        raise ConfigError(f"--device must be auto, cpu, cuda, cuda:N or mps, got {name}")
    return device


def pick_precision(name: str, device: torch.device) -> str:
    """Resolve a precision to `fp32` or `bf16`; `auto` is bf16 where that is multiplied natively.

    Decided from what the hardware reports, not from a timing, so that two runs on one machine
    agree. Raises ConfigError for an unknown name.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"--precision must be one of {', '.join(PRECISIONS)}, got {name}")
    if name != "auto":
        return name
    return "bf16" if multiplies_bf16(device) else "fp32"


def multiplies_bf16(device: torch.device) -> bool:
    """Decide whether `device` has products of bfloat16: where it has none, fp32 is faster."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # private, hence the default: without it we only lose speed
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return False


def multiplies_tf32(device: torch.device) -> bool:
    """Decide whether `device` has TF32, products of factors of 10 bits: CUDA's, from 8.0 on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def free_memory(device: torch.device) -> int:
    """Ask how many bytes are free on `device`; 4 GiB where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows, not all on macOS
        return 4 * 2**30


@contextmanager
def full_float32() -> Iterator[None]:
    """Keep float32 products exact: TF32 keeps 10 bits, and steps of 5e-5 would drown in it."""
    before = torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = cudnn


@contextmanager
def tf32_products() -> Iterator[None]:
    """Let CUDA devices round the factors of float32 products to 10 bits; others take no notice."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@contextmanager
def deterministic_convolutions() -> Iterator[None]:
    """Take the same kernel for the same shapes, and one that adds in a fixed order."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@contextmanager
def single_threaded_torch() -> Iterator[None]:
    """Give each of our threads one torch thread: a sum split differently would be another sum."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
