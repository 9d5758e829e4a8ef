"""Every kind of bank searches as Algorithm 1 does; the special cases are only faster."""

import copy
from dataclasses import replace

import pytest
import reference
import torch
from conftest import make_generator
from searching import ForeignGenerator, random_images

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.models.dcgan import Generator
from adgan_cli.engine.search import precision
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.fast_dcgan import FusedDCGANBank
from adgan_cli.engine.search.generators import SharedGenerator, VmapBank, make_bank
from adgan_cli.engine.search.searcher import search


class Subclass(Generator):
    """One of ours that may compute anything."""


@pytest.mark.parametrize(
    ("generator", "theta", "kind"),
    [
        (make_generator(), "per-point", FusedDCGANBank),
        (make_generator(), "none", SharedGenerator),
        (Subclass(make_generator().config), "per-point", VmapBank),
        (ForeignGenerator(), "per-image", VmapBank),
        (ForeignGenerator(), "none", SharedGenerator),
    ],
)
def test_only_our_own_generator_takes_the_fast_way(generator, theta, kind):
    assert type(make_bank(generator, 1, 1, replace(PAPER_SEARCH, theta=theta))) is kind


@pytest.mark.parametrize("lr_theta", [5e-5, 0.0])
def test_any_differentiable_generator_will_do(lr_theta):
    generator, x, z0 = ForeignGenerator(), random_images(3), starting_points(4, 8, seed=0)
    result = search(generator, x, replace(PAPER_SEARCH, n_seed=4, k=5, lr_theta=lr_theta), z0=z0)
    losses = reference.algorithm_1(generator, x, z0, k=5, lr_theta=lr_theta)
    torch.testing.assert_close(result.losses, losses, rtol=1e-4, atol=0)
    assert generator.training and all(w.requires_grad for w in generator.parameters())


def test_bf16_differs_by_its_rounding(generator):
    x = random_images(4)
    exact = search(generator, x, replace(PAPER_SEARCH, theta="none")).score
    rounded = search(generator, x, replace(PAPER_SEARCH, theta="none", precision="bf16")).score
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0)


def test_tf32_is_for_the_network_alone(monkeypatch):
    """A loss takes differences of squares, which 10 bits leave little of."""
    monkeypatch.setattr(precision, "multiplies_tf32", lambda device: True)
    seen = {"network": set(), "loss": set()}

    def note(where):
        seen[where].add(torch.backends.cuda.matmul.allow_tf32)

    class Watched(ForeignGenerator):
        def forward(self, z):
            note("network")
            y = super().forward(z)
            if y.requires_grad:
                y.register_hook(lambda grad: note("network"))
            return y

    def loss(x):
        def watched(y):
            note("loss")
            if y.requires_grad:
                y.register_hook(lambda grad: note("loss"))
            return (y - x).square().flatten(1).sum(1)

        return watched

    x, z0 = random_images(2), starting_points(2, 8, seed=0)
    for asked, allowed in (("auto", True), ("fp32", False)):
        config = replace(PAPER_SEARCH, theta="none", precision=asked)
        search(Watched(), x, config, z0=z0, loss=loss)
        assert seen == {"network": {allowed}, "loss": {False}}
        seen["network"].clear()


def test_the_generator_is_left_as_it_was(generator):
    generator.train()
    generator.norms[0].eval()
    before = copy.deepcopy(generator.state_dict())
    search(generator, random_images(2))
    assert all(torch.equal(t, before[n]) for n, t in generator.state_dict().items())
    assert generator.training and not generator.norms[0].training
    assert all(w.grad is None and not w.requires_grad for w in generator.parameters())
