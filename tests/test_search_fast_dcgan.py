"""The hand-written bank does what torch.func and autograd do for any module."""

import pytest
import torch
from conftest import make_generator

from adgan_cli.engine.search import fast_dcgan
from adgan_cli.engine.search.fast_dcgan import FusedDCGANBank
from adgan_cli.engine.search.generators import VmapBank


@pytest.mark.parametrize(("n_copies", "pairs_per_copy"), [(1, 1), (3, 1), (1, 4), (2, 3)])
@pytest.mark.parametrize(("size", "channels"), [(16, 3), (32, 1)])
def test_images_gradients_and_steps_are_those_of_the_plain_bank(
    size, channels, n_copies, pairs_per_copy
):
    generator = make_generator(size, channels)
    fast, plain = (
        bank(generator, n_copies, pairs_per_copy, lr=1e-2) for bank in (FusedDCGANBank, VmapBank)
    )
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(n_copies * pairs_per_copy, 8, generator=rng)
    y, plain_y = fast.reset(fast.first_forward(z)), plain.reset(plain.first_forward(z))
    for lr_scale in (1.0, 0.5, 0.25):
        torch.testing.assert_close(y, plain_y, rtol=1e-3, atol=1e-3)
        dy = torch.randn(y.shape, generator=rng)
        dz, plain_dz = (bank.backward_and_update(dy, lr_scale) for bank in (fast, plain))
        torch.testing.assert_close(dz, plain_dz, rtol=1e-3, atol=1e-2)
        z = z + 0.1
        y, plain_y = fast.forward(z), plain.forward(z)


def test_weights_that_move_block_by_block_move_alike(monkeypatch):
    generator, z = make_generator(), torch.ones(1, 8)
    images = []
    for block in (2**18, 64):
        monkeypatch.setattr(fast_dcgan, "CPU_BLOCK", block)
        bank = FusedDCGANBank(generator, 1, 1, lr=1e-2)
        y = bank.reset(bank.first_forward(z))
        bank.backward_and_update(torch.ones_like(y), 1.0)
        images.append(bank.forward(z).clone())
    torch.testing.assert_close(*images)


def test_a_bank_that_is_reset_forgets_what_it_moved():
    bank, z = FusedDCGANBank(make_generator(), 1, 2, lr=1e-2), torch.ones(2, 8)
    first = bank.first_forward(z)
    before = bank.reset(first).clone()
    bank.backward_and_update(torch.ones_like(before), 1.0)
    assert not torch.equal(bank.forward(z), before)
    assert torch.equal(bank.reset(first), before)
    bank.backward_and_update(torch.zeros_like(before), 1.0)  # moments that remained would move it
    assert torch.equal(bank.forward(z), before)
