"""Images to search for, and a generator that is not adgan's own."""

import torch
from torch import Tensor, nn


def random_images(count: int, size: int = 16, channels: int = 3, seed: int = 3) -> Tensor:
    """Noise, (count, channels, size, size), uniform in [-1, 1]."""
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, size, size, generator=rng) * 2 - 1


class ForeignGenerator(nn.Module):
    """(N, 8) -> (N, 3, 16, 16) by linear layers, a batch norm and a weight that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(8, 24), nn.BatchNorm1d(24), nn.Tanh())
        self.twice = nn.Linear(24, 24)
        self.head = nn.Linear(24, 3 * 16 * 16)

    def forward(self, z: Tensor) -> Tensor:
        h = self.twice(self.twice(self.body(z)).relu())
        return self.head(h).view(-1, 3, 16, 16).tanh()
