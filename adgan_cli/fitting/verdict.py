"""How well a training went, by the images that it never saw and without any label."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adgan_cli.engine.models.dcgan import Critic
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import pixel_tensor, to_model_range
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.training.convergence import stagnation_share
from adgan_cli.engine.training.state import TrainState
from adgan_cli.images.pixels import PixelSet
from adgan_cli.scoring.calibrate import score_pixels

MIN_TRAIN = 200  # to train on; below, a generator learns them by heart
N_JUDGED = 100  # pictures of each kind that the verdict looks at
N_COMPARED = 50  # pictures trained on that are searched for, to compare with those held out
MAX_CRITIC_GAP = 0.5  # of the critic's distance that is there only for pictures it was trained on
# times the error of images trained on: the generator knows those by heart
MAX_RECONSTRUCTION_RATIO = 1.3
COLLAPSED = 0.5  # of the variety of real pictures
# times the variety of real pictures: more than a generator that has seen them comes to
MAX_VARIETY = 10.0
HIGHEST_VARIETY = 1000.0  # more is not told: where real pictures are equal it would have no end
CONVERGED = 0.3  # of the steps brought nothing new


def with_verdict(model: Model, state: TrainState, images: PixelSet, held_out: PixelSet) -> Model:
    """Add a verdict on its training to the model's provenance, without any label.

    images: those trained on; held_out: the others, or none. Beside the verdict are its numbers:
    variety, the mean distance between two generated images as a share of that between two real
    ones; gap, the share of the critic's distance from generated to training images that is not
    there for images held out, 0 for a critic that knows none by heart; for what share of the
    steps nothing got better; and, where the model is calibrated, reconstruction, the median score
    of the images held out as a multiple of that of images trained on.
    """
    real = to_model_range(pixel_tensor(images, N_JUDGED).to(state.device))
    z = starting_points(N_JUDGED, model.config.latent_dim, seed=0).to(state.device)
    with torch.no_grad():
        generated = model.require_generator()(z)
    numbers: dict[str, Any] = {
        "trained_on": len(images),
        "held_out": len(held_out),
        "variety": round(min(_spread(generated) / max(_spread(real), 1e-12), HIGHEST_VARIETY), 3),
    }
    if len(held_out):
        unseen = to_model_range(pixel_tensor(held_out, N_JUDGED).to(state.device))
        if state.critic is not None:
            numbers["gap"] = round(_gap(state.critic, real, unseen, generated), 3)
        numbers["no_improvement_for"] = round(stagnation_share(state.validation_log), 2)
        search = replace(model.default_search(), by="reconstruction")
        calibration = model.calibration(search)
        if calibration is not None:
            # where time was too short to score all of those held out, also here
            fewer = len(calibration.scores) < len(held_out)
            count = min(N_COMPARED, len(calibration.scores)) if fewer else N_COMPARED
            seen = score_pixels(model, pixel_tensor(images, count).numpy(), search)
            ratio = np.median(calibration.scores) / max(np.median(seen), 1e-12)
            numbers["reconstruction"] = round(float(ratio), 3)
    word, advice = verdict(numbers, state.step)
    numbers |= {"verdict": word, "advice": advice}
    return replace(model, provenance={**model.provenance, "verdict": numbers})


def verdict(numbers: Mapping[str, Any], steps: int) -> tuple[str, str]:
    """Choose a word and a sentence of advice by the numbers: the gravest thing comes first."""
    if numbers["variety"] < COLLAPSED:
        return "collapsed", (
            f"generated pictures differ {numbers['variety']:.0%} as much as real ones: "
            "train longer, or try another --seed or objective"
        )
    if numbers["variety"] > MAX_VARIETY:
        return "almost equal pictures", (
            f"generated pictures differ {numbers['variety']:.0f} times as much as real ones, which "
            "are almost equal; adgan scan shows what was read"
        )
    if numbers["trained_on"] < MIN_TRAIN:
        return "too few pictures", (
            f"{numbers['trained_on']} pictures are soon known by heart: give it some hundreds"
        )
    if numbers.get("gap", 0) > MAX_CRITIC_GAP:
        return "too few pictures", (
            f"{numbers['gap']:.0%} of what the critic goes by is there for training pictures only: "
            "more pictures would help, or --flip, or fewer steps"
        )
    if numbers.get("reconstruction", 0) > MAX_RECONSTRUCTION_RATIO:
        return "too few pictures", (
            f"pictures held out are reproduced {numbers['reconstruction']:.2g} times as badly as "
            "those trained on: more pictures would help, or --flip, or fewer steps"
        )
    if numbers.get("no_improvement_for", 0) > CONVERGED:
        return "converged", (
            f"pictures held out fared no better in the last {numbers['no_improvement_for']:.0%} of "
            f"{steps:,} steps"
        )
    return "train longer", "it was still getting better when it stopped"


def verdict_numbers(numbers: Mapping[str, Any]) -> str:
    """Write what the verdict goes by on a line."""
    parts = [
        f"{numbers['trained_on']:,} pictures",
        f"variety {numbers['variety']:.2f} of real ones",
    ]
    if "gap" in numbers:
        parts.append(f"critic's gap {numbers['gap']:.2f}")
    if "reconstruction" in numbers:
        parts.append(f"error of those held out {numbers['reconstruction']:.2f} of those trained on")
    return ", ".join(parts)


def _spread(x: Tensor) -> float:
    """Compute the mean distance between two of the images x: (N, C, S, S)."""
    if len(x) < 2:
        return math.inf
    return float(torch.pdist(x.float().flatten(1)).mean())


@torch.no_grad()
def _gap(critic: Critic, real: Tensor, unseen: Tensor, generated: Tensor) -> float:
    critic.eval()
    of_real, of_unseen, of_generated = (
        critic(x).float().mean().item() for x in (real, unseen, generated)
    )
    critic.train()
    return float((of_real - of_unseen) / max(abs(of_real - of_generated), 1e-12))
