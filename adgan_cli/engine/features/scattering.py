"""Log scattering coefficients of an image: what waves there are, and how these come and go.

Bruna and Mallat (2013): the image is filtered by wavelets of some scales and angles, their moduli
again by coarser ones, and all is averaged over the cells of a grid. Letters in the shapes: C
channels, S size, s side of the padded image, t of a thinned one, J scales, L angles.
"""

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SCALES, ANGLES = 3, 6
CELLS = 4  # a side, in which coefficients are averaged
MARGIN = 8  # pixels mirrored at each border, as a Fourier transform wraps around
FREQUENCY = 3 * math.pi / 4  # of the finest wavelet, radians a pixel; Bruna and Mallat, section 2.1
SIGMA = 0.8  # of its envelope along the wave, pixels
SLANT = 2 / 3  # width of the envelope along the wave over that across it
LEAST = 1e-3  # added to coefficients of values in [0, 1]: their logarithms are finite

# luminance and two opponent colours, from RGB
OPPONENTS = ((1 / 3, 1 / 3, 1 / 3), (1 / 2, -1 / 2, 0.0), (1 / 4, 1 / 4, -1 / 2))


def scatter(image: np.ndarray) -> np.ndarray:
    """Describe an image, uint8 (S, S, C) -> (D,) float32.

    Means of luminance and opponent colours (C = 3) or of grey (C = 1), then logarithms of the
    coefficients of orders 1 and 2: D = C CELLS^2 (1 + J L + J (J - 1) / 2 L^2).
    """
    x = torch.from_numpy(np.ascontiguousarray(image)).float() / 255
    if x.shape[-1] == 3:
        x = x @ x.new_tensor(OPPONENTS).T
    x = x.movedim(-1, 0)  # (C, S, S)
    waves = torch.cat([cell_means(moduli) for moduli in scattered(x)])
    return torch.cat([cell_means(x), (waves + LEAST).log()]).numpy()


def scattered(x: Tensor) -> list[Tensor]:
    """Compute |x * psi| and ||x * psi| * psi'|, psi' coarser than psi, for each scale of each.

    x: (C, S, S) -> 3 tensors (C, L, T, T), then 3 (C, L, L, T, T); at scale j, every 2^j-th place
    is kept (T = S / 2^j): the wavelets have no finer detail.
    """
    padded = F.pad(x[None], (MARGIN,) * 4, mode="reflect")[0]  # (C, s, s)
    first = [_modulus(padded, scale, thinned=0) for scale in range(SCALES)]
    second = [
        _modulus(first[before], scale, thinned=before)
        for before in range(SCALES)
        for scale in range(before + 1, SCALES)
    ]
    inner = [*range(SCALES)]
    inner += [scale for before in range(SCALES) for scale in range(before + 1, SCALES)]
    return [
        moduli[..., (cut := MARGIN >> scale) : -cut, cut:-cut]
        for moduli, scale in zip([*first, *second], inner, strict=True)
    ]


def cell_means(x: Tensor) -> Tensor:
    """Average over the cells of the grid: (..., T, T) -> (... * CELLS^2,)."""
    return F.adaptive_avg_pool2d(x.reshape(1, -1, *x.shape[-2:]), CELLS).flatten()


def _modulus(x: Tensor, scale: int, *, thinned: int) -> Tensor:
    """Compute |x * psi| at a scale for all angles, at every 2^scale-th place of the image.

    x: (..., t, t), every 2^thinned-th place -> (..., L, t', t').
    """
    step = 2 ** (scale - thinned)
    spectrum = torch.fft.fft2(x)[..., None, :, :] * _wavelets(x.shape[-1], scale - thinned)
    side = x.shape[-1] // step
    # keeping every step-th place adds up the frequencies that then look alike
    folded = spectrum.unflatten(-1, (step, side)).mean(-2).unflatten(-2, (step, side)).mean(-3)
    return torch.fft.ifft2(folded).abs()


@cache
def _wavelets(side: int, scale: int) -> Tensor:
    """Make the Fourier transforms of Morlet wavelets at a scale: (L, side, side), real.

    psi(u) = (exp(i xi u) - beta) exp(-u^T Sigma^-1 u / 2), beta such that its integral is 0;
    xi = FREQUENCY / 2^scale. Periodic: Gaussians around neighbouring multiples of 2 pi are added.
    """
    periods = 2 * math.pi * torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    grid = torch.fft.fftfreq(side, dtype=torch.float64) * 2 * math.pi
    axis = (grid + periods[:, None]).flatten()  # (3 side,)
    sigma, frequency = SIGMA * 2**scale, FREQUENCY / 2**scale
    wavelets = []
    for angle in (math.pi * index / ANGLES for index in range(ANGLES)):
        along = axis * math.cos(angle) + axis[:, None] * math.sin(angle)
        beside = axis[:, None] * math.cos(angle) - axis * math.sin(angle)
        envelope = (beside * sigma / SLANT).square()
        around, centred = (
            (-(((along - shift) * sigma).square() + envelope) / 2)
            .exp()
            .view(3, side, 3, side)
            .sum((0, 2))
            for shift in (frequency, 0.0)
        )
        wavelets.append(around - around[0, 0] / centred[0, 0] * centred)
    return torch.stack(wavelets).float()
