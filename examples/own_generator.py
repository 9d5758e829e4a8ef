"""Search with a generator of your own: here sixteen principal components, as an nn.Module.

    python examples/own_generator.py [--normal 3] [--theta per-point]

Anything will do that maps (N, d') to (N, C, H, W) in [-1, 1] and can be differentiated: a GAN's
generator, the decoder of a VAE, or, as here, a mean picture plus latent coordinates along principal
components, each in units of its standard deviation, so that the prior is N(0, 1) as the search
assumes. It learns one of scikit-learn's handwritten digits and prints the AUC against the others,
beside that of the plain error of the projection, which is what the search approaches with its k.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import Tensor, nn

import adgan_cli as adgan
from adgan_cli.config import PAPER_SEARCH

COMPONENTS = 16


class Principal(nn.Module):
    """Map z to mean + components^T diag(deviations) z, (N, d') -> (N, 1, 8, 8)."""

    def __init__(self, pca: PCA) -> None:
        super().__init__()
        scaled = pca.components_ * np.sqrt(pca.explained_variance_)[:, None]  # (d', 64)
        self.components = nn.Parameter(torch.tensor(scaled, dtype=torch.float32))
        self.mean = nn.Parameter(torch.tensor(pca.mean_, dtype=torch.float32))

    def forward(self, z: Tensor) -> Tensor:
        return (self.mean + z @ self.components).view(-1, 1, 8, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--normal", type=int, default=3)
    parser.add_argument("--theta", default="none")
    args = parser.parse_args()

    digits, labels = load_digits(return_X_y=True)
    digits = digits / 8 - 1  # 0 ... 16 to [-1, 1]
    normal = np.flatnonzero(labels == args.normal)
    train, test = normal[::2], np.setdiff1d(np.arange(len(labels)), normal[::2])
    pca = PCA(COMPONENTS, random_state=0).fit(digits[train])

    x = torch.tensor(digits[test], dtype=torch.float32).view(-1, 1, 8, 8)
    config = replace(PAPER_SEARCH, n_seed=4, k=20, theta=args.theta)
    z0 = adgan.starting_points(config.n_seed, COMPONENTS, seed=0)
    result = adgan.search(Principal(pca), x, config, z0=z0)

    anomalous = labels[test] != args.normal
    projected = pca.inverse_transform(pca.transform(digits[test]))
    plain = ((digits[test] - projected) ** 2).sum(1)
    for name, scores in ("search", result.score.numpy()), ("projection", plain):
        auc = adgan.roc_auc(anomalous, scores)
        print(f"{name:<11} AUC {auc:.3f}, mean error {scores.mean():.2f}")


if __name__ == "__main__":
    main()
