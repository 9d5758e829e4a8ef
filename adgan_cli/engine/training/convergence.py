"""When is training long enough? Images that it never sees say, and nothing else."""

from collections.abc import Sequence

import numpy as np

SEGMENTS = 20  # of equal length, that a training is divided into; the median of each counts


def stagnation_share(validation_log: Sequence[tuple[int, float]]) -> float:
    """Compute for what share of the training so far there was no improvement: in [0, 1].

    validation_log: (step, value) in the order of the steps, less is better. A critic first has to
    learn what to look at, which makes its distance rise, so only what comes after the largest value
    counts. 0 where there are too few values.
    """
    if len(validation_log) < 2 * SEGMENTS:
        return 0.0
    values = np.array([value for _, value in validation_log])
    medians = np.array([np.median(part) for part in np.array_split(values, SEGMENTS)])
    peak = int(medians.argmax())
    best = peak + int(medians[peak:].argmin())
    return 1 - (best + 1) / SEGMENTS
