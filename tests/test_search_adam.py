"""The step of one tensor is that of torch.optim.Adam with the betas of footnote 5."""

import pytest
import torch

from adgan_cli.engine.search import adam
from adgan_cli.engine.search.adam import Adam


@pytest.mark.parametrize("fused_on", [("cpu",), ()])
def test_steps_are_those_of_torch_and_start_anew_after_a_reset(monkeypatch, fused_on):
    monkeypatch.setattr(adam, "FUSED_ON", fused_on)
    start = torch.linspace(-1, 1, 5)
    gradients = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    weight = start.clone()
    ours = Adam(weight, lr=0.1)
    for _ in range(2):
        weight.copy_(start)
        ours.reset()
        expected = torch.nn.Parameter(start.clone())
        theirs = torch.optim.Adam([expected], lr=0.1, betas=(0.5, 0.999))
        for gradient, lr_scale in zip(gradients, (1.0, 0.5, 0.25), strict=True):
            ours.step(weight, gradient, lr_scale)
            theirs.param_groups[0]["lr"] = lr_scale * 0.1
            expected.grad = gradient
            theirs.step()
            torch.testing.assert_close(weight, expected.detach())
