"""Score many images with a network, a batch at a time."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from adgan_cli.engine.device import full_float32
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.evaluation.task import NotApplicableError

BATCH = 256  # images at once; a matter of memory only


def score_in_batches(
    pixels: np.ndarray,
    score: Callable[[Tensor], Tensor],
    *,
    device: torch.device,
    batch_size: int = BATCH,
    on_progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Apply score: (B, C, S, S) in [-1, 1] -> (B,) to pixels: (M, S, S, C) uint8 -> (M,) float64.

    The last batch is filled up, so that every image is computed in the same shapes. In full
    float32; gradients are left to `score`. on_progress: gets how many images are done.
    Raises NotApplicableError where a score is not a number.
    """
    parts: list[np.ndarray] = []
    for start in range(0, len(pixels), batch_size):
        part = np.ascontiguousarray(pixels[start : start + batch_size])
        missing = batch_size - len(part) if len(pixels) > batch_size else 0
        x = to_model_range(torch.from_numpy(part).to(device))
        x = torch.cat([x, x[:1].expand(missing, *x.shape[1:])])
        with full_float32():
            scores = score(x.contiguous(memory_format=torch.channels_last))
        parts.append(scores.detach()[: len(part)].double().cpu().numpy())
        if on_progress:
            on_progress(start + len(part))
    return finite(np.concatenate(parts) if parts else np.empty(0))


def finite(scores: np.ndarray) -> np.ndarray:
    """Return `scores`; raises NotApplicableError if one of them is NaN or infinite."""
    lost = int((~np.isfinite(scores)).sum())
    if lost:
        raise NotApplicableError(f"{lost} of {scores.size} scores are not numbers")
    return scores
