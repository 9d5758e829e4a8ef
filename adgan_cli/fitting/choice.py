"""Choose the size, width and batch that a machine can train in the time there is.

Decided by a rule from measured steps, so that nobody has to know what a machine can do: the largest
of some candidates of which enough steps fit into the time of the generator.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch

from adgan_cli.config import ModelConfig, Size, TrainConfig
from adgan_cli.engine.cost import training_operations
from adgan_cli.fitting.estimate import step_seconds
from adgan_cli.fitting.plan import FEATURE_SHARE, MEASURED_SHARE, WEIGHTS
from adgan_cli.fitting.settings import TrainingSettings

# As many steps the generators of examples/results took by which the defaults were chosen; four
# times as many changed little there, and fewer than half separate even digits clearly worse.
ENOUGH_STEPS = 2000
STEPS_TAKEN = 3  # by a measurement
SIZES: tuple[Size, ...] = 64, 32
WIDTHS, BATCHES = (64, 32, 16), (64, 32)


@dataclass(frozen=True)
class TrainingSize:
    """Networks, and how many images they see at once."""

    size: Size
    width: int
    batch_size: int

    def of(self, model: ModelConfig, train: TrainConfig) -> tuple[ModelConfig, TrainConfig]:
        """Return settings that are otherwise as these."""
        return (
            replace(model, size=self.size, width=self.width),
            replace(train, batch_size=self.batch_size),
        )


@dataclass(frozen=True)
class Choice:
    """What was chosen, and by what."""

    candidate: TrainingSize
    step: float  # seconds, measured
    seconds: float  # that the generator is expected to get
    enough: int  # steps

    @property
    def steps(self) -> int:
        """Count the steps that fit into the time."""
        return int(self.seconds / self.step)


Number = TypeVar("Number", bound=int)
Measure = Callable[[ModelConfig, TrainConfig], float]  # seconds of a step


def candidates(
    model: ModelConfig, train: TrainConfig, given: Collection[str]
) -> list[TrainingSize]:
    """List what can be chosen, the largest first: no larger than the settings, and as given.

    given: names of the settings that stay as they are. Networks are at least half as wide as their
    images are: only the least machine gets narrower ones than were ever measured.
    """
    sizes = _at_most(SIZES, model.size, "size" in given)
    widths = _at_most(WIDTHS, model.width, "width" in given)
    # moments are matched over a batch: a small one tells little of them
    fixed = "batch_size" in given or train.objective == "mmd"
    batches = _at_most(BATCHES, train.batch_size, fixed)
    return [
        TrainingSize(size, width, batch_size)
        for size in sizes
        for width in widths
        if 2 * width >= size or width == widths[0]
        for batch_size in batches
    ]


def generator_seconds(limit: float, *, features: bool, encoder: bool) -> float:
    """Estimate the time of the generator before pictures are read: what it gets at least."""
    left = limit * (1 - FEATURE_SHARE * features)
    others = WEIGHTS["calibration"] + WEIGHTS["encoder"] * encoder
    return left * WEIGHTS["generator"] / (WEIGHTS["generator"] + others)


def chosen_settings(
    settings: TrainingSettings,
    fixed: Collection[str],
    *,
    spent: float,
    device: torch.device,
    precision: str,
) -> tuple[TrainingSettings, Choice | None]:
    """Choose what is not fixed of size, width and batch, by steps measured on this device.

    spent: seconds of the limit that are over. None, and the settings as they are, where there is
    nothing to choose or no limit to go by.
    """
    limit, model, train = settings.after(spent).max_time, settings.model, settings.train
    if not limit or not settings.gan or len(candidates(model, train, fixed)) == 1:
        return settings, None
    choice = choose(
        model,
        train,
        partial(step_seconds, budget=MEASURED_SHARE * limit, device=device, precision=precision),
        given=fixed,
        limit=limit,
        features=settings.features is not None,
        from_largest=device.type != "cpu",
    )
    model, train = choice.candidate.of(model, train)
    return replace(settings, model=model, train=train), choice


def choose(
    model: ModelConfig,
    train: TrainConfig,
    measure: Measure,
    *,
    given: Collection[str] = (),
    limit: float,
    features: bool = True,
    from_largest: bool = False,
) -> Choice:
    """Take the largest candidate of which enough steps fit the generator's time, or the quickest.

    limit: seconds of the whole command, of which measuring takes a small share. Candidates are
    measured from the quickest on, by counted operations, up to the first that is too slow: what
    comes after it takes still longer. from_largest: try the largest at once, as an accelerator does
    enough steps of any.
    """
    ordered = candidates(model, train, given)
    seconds = generator_seconds(limit, features=features, encoder=train.encoder_iters > 0)
    enough, budget = min(ENOUGH_STEPS, train.iters), MEASURED_SHARE * limit

    def operations(candidate: TrainingSize) -> int:
        return training_operations(*candidate.of(model, train))

    def measured(candidate: TrainingSize) -> Choice:
        return Choice(candidate, measure(*candidate.of(model, train)), seconds, enough)

    if from_largest:
        largest = measured(ordered[0])
        if largest.steps >= enough:
            return largest
    quickest, *others = sorted(ordered, key=operations)
    last = measured(quickest)
    fitting = {quickest: last}
    for candidate in others:
        budget -= STEPS_TAKEN * last.step
        expected = last.step * operations(candidate) / operations(last.candidate)
        if last.steps < enough or STEPS_TAKEN * expected > budget:
            break
        last = measured(candidate)
        if last.steps >= enough:
            fitting[candidate] = last
    return next(fitting[candidate] for candidate in ordered if candidate in fitting)


def _at_most(values: Sequence[Number], most: Number, is_given: bool) -> Sequence[Number]:
    smaller = () if is_given else [value for value in values if value <= most]
    return smaller or [most]
