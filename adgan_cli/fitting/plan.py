"""How the time of a training is divided among its parts: pure, as costs are measured elsewhere."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from adgan_cli.engine.features.altered import ALTERATIONS
from adgan_cli.fitting.verdict import N_COMPARED
from adgan_cli.scoring.calibrate import n_altered

FEATURE_SHARE = 1 / 3  # of the time left, which features take at most
# in which proportion the parts share time that is too short for all of them: the generator is
# what all else goes by, and an encoder is of use after some hundreds of steps
WEIGHTS: Mapping[str, float] = {
    "features": FEATURE_SHARE,
    "generator": 0.45,
    "encoder": 0.12,
    "calibration": 0.1,
}
MEASURED_SHARE = 0.03  # of the time, that measuring may take, for the choice and for the plan
MIN_ENCODER_STEPS = 50  # fewer give the search a start that is worse than a random one
MIN_CALIBRATED = 20  # images held out: with fewer, no p-value is below 0.05


@dataclass(frozen=True)
class Costs:
    """What parts of a run take on this machine, in seconds."""

    step: float = 0.0  # of the generator, with those of its critic
    encoder_step: float = 0.0
    search: float = 0.0  # for an image; 0 without any
    comparison: float = 0.0  # of an image by features; 0 without any
    saving: float = 0.0  # everything that is written at the end


@dataclass(frozen=True)
class Work:
    """What a run has still to do."""

    steps: int  # of the generator
    encoder_steps: int = 0
    held_out: int = 0  # images to score for p-values
    compared: bool = False  # by features too
    fitted: bool = True  # whether there are features already, if there are to be any


@dataclass(frozen=True)
class TimePlan:
    """Seconds that the parts of a run get, and what they come to in it."""

    features: float = 0.0
    generator: float = 0.0
    encoder: float = 0.0
    calibration: float = 0.0
    saving: float = 0.0
    steps: int = 0
    encoder_steps: int = 0
    calibrated: int = 0  # images held out


def plan_time(seconds: float, costs: Costs, work: Work, bounded: str = "") -> TimePlan:
    """Divide the time that is left: no part gets more than it can use, saving all it needs.

    bounded: a part that gets what the others leave too: not what it is expected to take, but the
    most that it may.
    """
    left = max(0.0, seconds - costs.saving)
    calibration = calibration_seconds(work.held_out, costs)
    # the least that is scored, however short the time is
    reserved = min(left, calibration_seconds(min(MIN_CALIBRATED, work.held_out), costs))
    left -= reserved
    wants = {
        "generator": work.steps * costs.step,
        "encoder": work.encoder_steps * costs.encoder_step,
        "calibration": calibration - reserved,
    }
    if bounded:
        wants[bounded] = math.inf
    wants["features"] = 0.0 if work.fitted else FEATURE_SHARE * left
    shares = divide(left, wants, WEIGHTS)
    shares["calibration"] += reserved
    least = min(MIN_ENCODER_STEPS, work.encoder_steps) * costs.encoder_step
    if shares["encoder"] < least:
        return plan_time(seconds, costs, replace(work, encoder_steps=0), bounded)
    return TimePlan(
        **shares,
        saving=costs.saving,
        steps=affordable_steps(shares["generator"], costs.step, work.steps),
        encoder_steps=affordable_steps(shares["encoder"], costs.encoder_step, work.encoder_steps),
        calibrated=affordable_images(shares["calibration"], costs, work.held_out),
    )


def divide(
    seconds: float, wants: Mapping[str, float], weights: Mapping[str, float]
) -> dict[str, float]:
    """Divide seconds by weights, but give none more than it wants: what it leaves is the others'.

    The weighted max-min fair allocation of Bertsekas and Gallager (Data Networks, section 6.5.2).
    """
    shares: dict[str, float] = {}
    # those that are satisfied first, if any is
    names = sorted(wants, key=lambda name: wants[name] / weights[name])
    for index, name in enumerate(names):
        share = seconds * weights[name] / sum(weights[other] for other in names[index:])
        shares[name] = min(wants[name], share)
        seconds -= shares[name]
    return shares


def calibration_seconds(count: int, costs: Costs) -> float:
    """Estimate the scoring of so many images held out, and of what the verdict compares them with.

    With features, altered copies of some are searched for too.
    """
    if not count:
        return 0.0
    altered = len(ALTERATIONS) * n_altered(count) if costs.comparison else 0
    searches = count + altered + min(N_COMPARED, count)
    return searches * costs.search + count * costs.comparison


def affordable_images(seconds: float, costs: Costs, count: int) -> int:
    """Compute how many images of `count` can be scored in so many seconds: at least 20."""
    most = min(MIN_CALIBRATED, count)
    while most < count and calibration_seconds(most + 1, costs) <= seconds:
        most += 1
    return most


def affordable_steps(seconds: float, step: float, most: int) -> int:
    """Compute how many steps of at most so many fit into the time."""
    return min(most, math.floor(seconds / step)) if step else most
