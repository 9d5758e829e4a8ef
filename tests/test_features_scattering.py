"""Scattering: what it does to a constant, to shifts and to energy."""

import math

import numpy as np
import pytest
import torch
from textures import stripes

from adgan_cli.engine.features.scattering import (
    ANGLES,
    FREQUENCY,
    GRIDS,
    LEAST,
    PAIRS,
    SCALES,
    _wavelets,
    scatter,
    scattered,
    scattering_groups,
)

WAVES, CHANGES = SCALES * ANGLES, SCALES * (SCALES - 1) // 2 * ANGLES**2


def wavelets(side: int, scale: int) -> torch.Tensor:
    """Undo what _wavelets divides by for the thinning: real (ANGLES, side, side)."""
    filters = _wavelets(side, scale)
    assert filters.imag.abs().max() == 0
    return filters.real * 4**scale


def all_moduli(x: torch.Tensor) -> list[torch.Tensor]:
    first, second = scattered(x)
    return [*first, *second]


def waves(side: int, angle: float, frequency: float) -> torch.Tensor:
    """An image of one plane wave: (1, side, side)."""
    at = torch.arange(side, dtype=torch.float32)
    phase = frequency * (at * math.cos(angle) + at[:, None] * math.sin(angle))
    return phase.cos()[None]


def test_a_wavelet_has_no_mean_and_its_peak_at_its_own_frequency():
    side = 64
    grid = torch.fft.fftfreq(side) * 2 * math.pi
    for scale in range(SCALES):
        filters = wavelets(side, scale)
        assert filters[:, 0, 0].abs().max() == 0
        for index in range(ANGLES):
            y, x = divmod(int(filters[index].argmax()), side)
            angle, frequency = math.pi * index / ANGLES, FREQUENCY / 2**scale
            assert float(grid[x]) == pytest.approx(frequency * math.cos(angle), abs=0.1)
            assert float(grid[y]) == pytest.approx(frequency * math.sin(angle), abs=0.1)


@pytest.mark.parametrize("side", [32, 64])
def test_the_wavelets_lose_no_frequency_and_add_none(side):
    # Littlewood-Paley: of a real image both halves of the plane are seen
    total = torch.zeros(side, side)
    for scale in range(SCALES):
        squares = wavelets(side, scale).square().sum(0)
        total += (squares + squares.flip(0, 1).roll((1, 1), (0, 1))) / 2
    grid = torch.fft.fftfreq(side).abs() * 2 * math.pi
    radius = (grid.square()[:, None] + grid.square()).sqrt()
    band = total[(radius > FREQUENCY / 4) & (radius < math.pi)]
    assert 0.1 < band.min() and band.max() < 2


def test_a_constant_has_no_waves():
    for moduli in all_moduli(torch.full((1, 32, 32), 0.7)):
        assert moduli.abs().max() < 1e-5


def test_a_wave_is_seen_by_the_wavelet_of_its_scale_and_angle():
    for scale in range(SCALES):
        for index in range(ANGLES):
            x = waves(64, math.pi * index / ANGLES, FREQUENCY / 2**scale)
            first = [moduli.mean((0, 2, 3)) for moduli in scattered(x)[0]]
            assert int(torch.stack(first).argmax()) == scale * ANGLES + index


def test_moduli_move_with_the_image():
    rng = torch.Generator().manual_seed(0)
    x = torch.zeros(1, 64, 64)
    x[:, 20:32, 20:32] = torch.rand(12, 12, generator=rng)
    step = 8
    for plain, moved in zip(all_moduli(x), all_moduli(x.roll((step, step), (1, 2))), strict=True):
        places = step * plain.shape[-1] // 64
        shifted = plain.roll((places, places), (-2, -1))
        torch.testing.assert_close(moved, shifted, atol=1e-3, rtol=1e-3)


def test_thinning_keeps_the_energy_of_each_wave():
    x = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    for scale, moduli in enumerate(scattered(x)[0]):
        padded = torch.nn.functional.pad(x[None], (8,) * 4, mode="reflect")[0]
        whole = torch.fft.ifft2(torch.fft.fft2(padded)[:, None] * wavelets(80, scale)).abs()
        every = whole[..., :: 2**scale, :: 2**scale]
        cut = 8 >> scale
        torch.testing.assert_close(moduli, every[..., cut:-cut, cut:-cut], atol=2e-3, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_number_of_features_is_the_same_at_any_side(channels):
    for side in (16, 32, 128):
        features = scatter(stripes(1, side=side, channels=channels)[0])
        a_cell = channels * (1 + WAVES) + CHANGES
        assert features.shape == (a_cell * sum(cells**2 for cells in GRIDS),)
        assert features.dtype == np.float32 and np.isfinite(features).all()
    assert sum(scattering_groups(channels)) == len(features)


def test_groups_are_those_of_the_features():
    groups = scattering_groups(3)
    # grey in three channels has no colour
    grey = stripes(1, channels=1)[0].repeat(3, axis=2)
    kinds = iter(np.split(scatter(grey), np.cumsum(groups)[:-1]))
    for cells, mean, mean_colour, waves, colour_waves, changes in zip(
        GRIDS, *[kinds] * 5, strict=False
    ):
        assert len(mean) == cells**2 and mean.min() > 0.3
        assert np.abs(mean_colour).max() < 1e-6
        assert np.abs(colour_waves - math.log(LEAST)).max() < 1e-2
        assert waves.max() > -3 and len(waves) == len(colour_waves) / 2
        assert np.ptp(changes) > 1
    assert next(kinds, None) is None


def test_changes_of_waves_hardly_depend_on_contrast():
    noise = np.random.default_rng(0).normal(128, 40, (32, 32, 1))
    image = noise.clip(0, 255).astype(np.uint8)
    weak = (image // 2 + 64).astype(np.uint8)
    difference = np.split(scatter(image) - scatter(weak), np.cumsum(scattering_groups(1))[:-1])
    _, waves, changes = difference[:3]
    assert np.median(waves) == pytest.approx(math.log(2), abs=0.1)  # but for LEAST
    assert np.median(np.abs(changes)) < math.log(2) / 3
    assert len(changes) == CHANGES == len(PAIRS) * ANGLES**2
