"""Pictures that are not trained on: they tell when to stop, how well it went, and what is odd."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adgan_cli.config import TrainConfig
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import pixel_tensor, to_model_range
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.training.convergence import stagnation_share
from adgan_cli.engine.training.objectives import objective
from adgan_cli.engine.training.trainer import TrainState
from adgan_cli.images.pixels import PixelSet
from adgan_cli.scoring.calibrate import MAX_HELD_OUT, score_pixels

MIN_TRAIN = 200  # to train on; below, a generator learns them by heart
N_JUDGED = 100  # pictures of each kind that the verdict looks at
N_COMPARED = 50  # pictures trained on that are searched for, to compare with those held out
MAX_CRITIC_GAP = 0.5  # of the critic's distance that is there only for pictures it was trained on
MAX_RECONSTRUCTION_RATIO = (
    1.3  # times the error of pictures trained on: the generator knows them by heart
)
COLLAPSED = 0.5  # of the variety of real pictures
CONVERGED = 0.3  # of the steps brought nothing new


def hold_out(pictures: PixelSet, config: TrainConfig) -> tuple[PixelSet, PixelSet]:
    """Split a set into what is trained on and what is not, the share that `config` says.

    The choice depends on the contents of the files and the seed, not on names or order; copies of a
    file stay together. At most 2,000 are held out, and none where that would be a single one.
    """
    count = len(pictures)
    contents = pictures.fingerprints if len(pictures.fingerprints) else np.arange(count)
    distinct, which = np.unique(contents, return_inverse=True)
    held = min(MAX_HELD_OUT, round(config.holdout * len(distinct)))
    if held < 2:
        held = 0
    place = np.random.default_rng(config.seed).permutation(len(distinct))
    chosen = place[which] < held
    return pictures.subset(~chosen), pictures.subset(chosen)


def with_verdict(model: Model, state: TrainState, pictures: PixelSet, held_out: PixelSet) -> Model:
    """The model with a verdict on its training in its provenance, without any label.

    pictures: those trained on; held_out: the others, or none. Told are, beside their numbers:
    variety, the mean distance between two generated pictures as a share of that between two real
    ones; gap, the share of the critic's distance from generated to training pictures that is not
    there for pictures held out, 0 for a critic that knows none by heart; for what share of the
    steps nothing got better; and, where the model is calibrated, reconstruction, the median score
    of the pictures held out as a multiple of that of pictures trained on.
    """
    real = to_model_range(pixel_tensor(pictures, N_JUDGED).to(state.device))
    z = starting_points(N_JUDGED, model.config.latent_dim, seed=0).to(state.device)
    with torch.no_grad():
        made = model.generator(z)
    told: dict[str, Any] = {
        "trained_on": len(pictures),
        "held_out": len(held_out),
        "variety": round(_spread(made) / max(_spread(real), 1e-12), 3),
    }
    if len(held_out):
        unseen = to_model_range(pixel_tensor(held_out, N_JUDGED).to(state.device))
        if objective(state.train_config).has_critic:
            told["gap"] = round(_gap(state.critic, real, unseen, made), 3)
        told["no_improvement_for"] = round(stagnation_share(state.checks), 2)
        known = model.calibration(model.default_search())
        if known is not None:
            seen = score_pixels(model, pixel_tensor(pictures, N_COMPARED), model.default_search())
            ratio = np.median(known.scores) / max(np.median(seen), 1e-12)
            told["reconstruction"] = round(float(ratio), 3)
    word, advice = verdict(told, state.step)
    told |= {"verdict": word, "advice": advice}
    return replace(model, provenance={**model.provenance, "verdict": told})


def verdict(told: Mapping[str, Any], steps: int) -> tuple[str, str]:
    """A word and a sentence of advice for the measurements: the gravest thing comes first."""
    if told["variety"] < COLLAPSED:
        return "collapsed", (
            f"generated pictures differ {told['variety']:.0%} as much as real ones: "
            "train longer, or try another --seed or objective"
        )
    if told["trained_on"] < MIN_TRAIN:
        return "too few pictures", (
            f"{told['trained_on']} pictures are soon known by heart: give it some hundreds"
        )
    if told.get("gap", 0) > MAX_CRITIC_GAP:
        return "too few pictures", (
            f"{told['gap']:.0%} of what the critic goes by is there for training pictures only: "
            "more pictures would help, or --flip, or fewer steps"
        )
    if told.get("reconstruction", 0) > MAX_RECONSTRUCTION_RATIO:
        return "too few pictures", (
            f"pictures held out are reproduced {told['reconstruction']:.2g} times as badly as "
            "those trained on: more pictures would help, or --flip, or fewer steps"
        )
    if told.get("no_improvement_for", 0) > CONVERGED:
        return "converged", (
            f"pictures held out fared no better in the last {told['no_improvement_for']:.0%} of "
            f"{steps:,} steps"
        )
    return "train longer", "it was still getting better when it stopped"


def verdict_numbers(told: Mapping[str, Any]) -> str:
    """What the verdict goes by, on a line."""
    said = [f"{told['trained_on']:,} pictures", f"variety {told['variety']:.2f} of real ones"]
    if "gap" in told:
        said.append(f"critic's gap {told['gap']:.2f}")
    if "reconstruction" in told:
        said.append(f"error of those held out {told['reconstruction']:.2f} of those trained on")
    return ", ".join(said)


def _spread(x: Tensor) -> float:
    """The mean distance between two of the pictures x: (N, C, S, S)."""
    if len(x) < 2:
        return math.inf
    return float(torch.pdist(x.float().flatten(1)).mean())


@torch.no_grad()
def _gap(critic: nn.Module, real: Tensor, unseen: Tensor, made: Tensor) -> float:
    critic.eval()
    of_real, of_unseen, of_made = (critic(x).float().mean().item() for x in (real, unseen, made))
    critic.train()
    return float((of_real - of_unseen) / max(abs(of_real - of_made), 1e-12))
