"""The only two places that know about [-1, 1] (section 4.1) and about channel order."""

import math

import numpy as np
import torch
from torch import Tensor

from adgan_cli.images.pixels import PixelSet


def to_model_range(pixels: Tensor) -> Tensor:
    """uint8 pictures (N, S, S, C) -> float32 (N, C, S, S) in [-1, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_uint8(x: Tensor) -> np.ndarray:
    """Pictures (N, C, S, S) in [-1, 1] -> uint8 array (N, S, S, C), rounded."""
    levels = x.detach().add(1.0).mul(127.5).round().clamp(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def pixel_tensor(pictures: PixelSet, most: int | None = None) -> Tensor:
    """The pictures, uint8 (N, S, S, C), or as many of them, from all over the set."""
    stride = 1 if most is None else max(1, math.ceil(len(pictures) / most))
    return torch.from_numpy(np.ascontiguousarray(pictures.take(slice(None, None, stride))))
