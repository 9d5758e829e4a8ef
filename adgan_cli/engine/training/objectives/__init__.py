"""The objectives a generator can be trained on: each is its equation and its recipe."""

from adgan_cli.config import TrainConfig
from adgan_cli.engine.training.objectives.adversarial import gan, lsgan, wgan, wgan_gp
from adgan_cli.engine.training.objectives.autoencoding import glo, vae
from adgan_cli.engine.training.objectives.kinds import Adversarial, Objective, Reconstructive
from adgan_cli.engine.training.objectives.moment_matching import mmd

__all__ = ["Adversarial", "Objective", "Reconstructive", "objective"]


def objective(config: TrainConfig) -> Objective:
    """Make the objective that `config` names."""
    match config.objective:
        case "wgan":
            return wgan(config)
        case "wgan-gp":
            return wgan_gp(config)
        case "lsgan":
            return lsgan(config)
        case "mmd":
            return mmd()
        case "vae":
            return vae()
        case "glo":
            return glo()
        case _:
            return gan(config)
