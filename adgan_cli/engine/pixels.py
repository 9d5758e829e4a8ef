"""Convert images between uint8 and [-1, 1] (section 4.1), and between channel orders: only here."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from adgan_cli.images.pixels import PixelSet


def to_model_range(pixels: Tensor) -> Tensor:
    """Scale uint8 (N, S, S, C) to float32 (N, C, S, S) in [-1, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_uint8(x: Tensor) -> np.ndarray:
    """Round (N, C, S, S) in [-1, 1] to a uint8 array (N, S, S, C)."""
    levels = x.detach().add(1.0).mul(127.5).round().clamp(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def pixel_tensor(images: "PixelSet", max_images: int | None = None) -> Tensor:
    """Copy a set, or max_images from all over it, to a uint8 tensor (N, S, S, C)."""
    stride = 1 if max_images is None else max(1, math.ceil(len(images) / max_images))
    return torch.from_numpy(np.ascontiguousarray(images.take(slice(None, None, stride))))
