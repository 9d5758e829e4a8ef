"""Log scattering coefficients of an image: what waves there are, and how these come and go.

Bruna and Mallat (2013): the image is filtered by wavelets of some scales and angles, their moduli
again by coarser ones, and all is averaged over the cells of grids. Letters in the shapes: C
channels, S size, s side of the padded image, t of a thinned one, J scales, L angles.
"""

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SCALES, ANGLES = 3, 6
PAIRS = tuple((one, other) for one in range(SCALES) for other in range(one + 1, SCALES))
GRIDS = 1, 2  # cells a side, in which coefficients are averaged
MARGIN = 8  # pixels mirrored at each border, as a Fourier transform wraps around
FREQUENCY = 3 * math.pi / 4  # of the finest wavelet, radians a pixel; Bruna and Mallat, section 2.1
SIGMA = 0.8  # of its envelope along the wave, pixels
SLANT = 2 / 3  # width of the envelope along the wave over that across it
LEAST = 1e-3  # added to coefficients of values in [0, 1]: their logarithms are finite

# luminance and two opponent colours, from RGB
OPPONENTS = ((1 / 3, 1 / 3, 1 / 3), (1 / 2, -1 / 2, 0.0), (1 / 4, 1 / 4, -1 / 2))


def scatter(image: np.ndarray) -> np.ndarray:
    """Describe an image, uint8 (S, S, C) -> (D,) float32.

    For each cell: means of luminance and opponent colours (C = 3) or of grey (C = 1), logarithms of
    the coefficients of order 1, and, of luminance alone, those of order 2 less those of order 1
    that they come from (Bruna and Mallat, section 2.4): how a wave comes and goes, however strong
    it is. Changes of waves of colour told nothing more on photographs, and take most of the time.
    """
    x = torch.from_numpy(np.ascontiguousarray(image)).float() / 255
    if x.shape[-1] == 3:
        x = x @ x.new_tensor(OPPONENTS).T
    x = x.movedim(-1, 0)  # (C, S, S)
    first, second = scattered(x)
    groups: list[Tensor] = []
    for cells in GRIDS:
        waves = torch.stack([(cell_means(moduli, cells) + LEAST).log() for moduli in first])
        changes = [
            (cell_means(moduli, cells) + LEAST).log() - waves[before, 0][:, None]
            for (before, _), moduli in zip(PAIRS, second, strict=True)
        ]
        means = cell_means(x, cells)
        groups += [means[:1], means[1:], waves[:, :1], waves[:, 1:], *changes]
    return torch.cat([group.flatten() for group in groups]).numpy()


def scattering_groups(channels: int) -> tuple[int, ...]:
    """Count the features of each kind, in the order of `scatter`: by grid, order and colour."""
    waves, changes = SCALES * ANGLES, len(PAIRS) * ANGLES**2
    kinds = (1, waves) if channels == 1 else (1, channels - 1, waves, waves * (channels - 1))
    return tuple(count * cells**2 for cells in GRIDS for count in (*kinds, changes))


def scattered(x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Compute |x * psi| for each scale, and ||y * psi| * psi'| for each of PAIRS.

    x: (C, S, S), y the first of its channels -> (C, L, T, T) each, and (L, L, T, T) each. Where the
    last wavelet has scale j, every 2^j-th place is kept, T = S / 2^j: there is no finer detail.
    """
    padded = F.pad(x[None], (MARGIN,) * 4, mode="reflect")[0]  # (C, s, s)
    spectrum = torch.fft.fft2(padded)
    first = [_moduli(spectrum, scale) for scale in range(SCALES)]
    spectra = [torch.fft.fft2(moduli[0]) for moduli in first[:-1]]
    second = [_moduli(spectra[before], scale - before) for before, scale in PAIRS]
    return (
        [_cut(moduli, scale) for scale, moduli in enumerate(first)],
        [_cut(moduli, scale) for (_, scale), moduli in zip(PAIRS, second, strict=True)],
    )


def cell_means(x: Tensor, cells: int) -> Tensor:
    """Average over the cells of a grid: (..., T, T) -> (..., cells, cells)."""
    return F.adaptive_avg_pool2d(x.flatten(0, -3), cells).unflatten(0, x.shape[:-2])


def _cut(moduli: Tensor, scale: int) -> Tensor:
    """Cut off the margin: (..., t, t), every 2^scale-th place -> (..., T, T)."""
    margin = MARGIN >> scale
    return moduli[..., margin:-margin, margin:-margin]


def _moduli(spectrum: Tensor, scale: int) -> Tensor:
    """Compute |x * psi| at a scale for all angles, at every 2^scale-th place.

    spectrum: the Fourier transform of x, (..., t, t) -> (..., L, t', t'), t' = t / 2^scale.
    """
    filtered = spectrum[..., None, :, :] * _wavelets(spectrum.shape[-1], scale)
    for _ in range(scale):  # keeping every other place adds up the frequencies that then look alike
        half = filtered.shape[-1] // 2
        filtered = filtered[..., :half] + filtered[..., half:]
        filtered = filtered[..., :half, :] + filtered[..., half:, :]
    waves = torch.fft.ifft2(filtered)
    # abs() of complex numbers takes twice as long: it minds overflow
    return (waves.real.square() + waves.imag.square()).sqrt()


@cache
def _wavelets(side: int, scale: int) -> Tensor:
    """Make the Fourier transforms of Morlet wavelets at a scale: (L, side, side) complex64.

    psi(u) = (exp(i xi u) - beta) exp(-u^T Sigma^-1 u / 2), beta such that its integral is 0;
    xi = FREQUENCY / 2^scale. Periodic: Gaussians around neighbouring multiples of 2 pi are added.
    They are divided by 4^scale, as the inverse transform of what is kept of every 2^scale-th place
    divides by fewer places than the transform had; complex, though without an imaginary part, as
    multiplication would make them so every time.
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
    return (torch.stack(wavelets) / 4**scale).to(torch.complex64)
