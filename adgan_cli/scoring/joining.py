"""What is joined into one score, by which weights, and the held-out scores to match."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from adgan_cli.config import SearchConfig
from adgan_cli.engine.features.ensemble import FeatureModel, joined_z_scores
from adgan_cli.engine.models.model import Calibration, Model
from adgan_cli.errors import ConfigError

RECONSTRUCTION = "reconstruction"  # among the names of what is joined

LogErrors = tuple[float, float]  # mean and deviation of the logarithm of the search's errors


def part_weights(features: FeatureModel, config: SearchConfig) -> dict[str, float]:
    """Return what each part of a joined score counts for, in the order of all tables.

    They add up to 1. There are no parts by reconstruction alone.
    """
    if config.by == "reconstruction":
        return {}
    if config.by == "features":
        return features.weights
    return with_reconstruction(features.weights, features.reconstruction_weight)


def with_reconstruction(weights: Mapping[str, float], share: float | None) -> dict[str, float]:
    """Give the reconstruction its share of the weights of detectors: all add up to 1 again.

    share: None: as much as the detectors that count have on average.
    """
    if share is None:
        share = 1 / (1 + sum(weight > 0 for weight in weights.values()))
    others = {name: weight * (1 - share) for name, weight in weights.items()}
    return {**others, RECONSTRUCTION: share}


def joined_names(model: Model, config: SearchConfig) -> tuple[str, ...]:
    """Name the parts of a score by these settings, in the order of all tables."""
    return () if model.features is None else tuple(part_weights(model.features, config))


def require_scoring(model: Model, config: SearchConfig) -> None:
    """Raise ConfigError where the model lacks what these settings score by, with the remedy."""
    if config.by != "features":
        model.require_generator()
    if config.by != "reconstruction":
        model.require_features()
    if config.by == "all":
        calibrated_errors(model, config)


def calibrated_errors(model: Model, config: SearchConfig) -> LogErrors:
    """Look up how errors of images held out lie; ConfigError where none were searched for."""
    calibration = model.calibration(config)
    if calibration is None or calibration.log_errors is None:
        raise ConfigError(
            "--by all needs scores of ordinary pictures with these settings, to compare the "
            "reconstruction's with: adgan calibrate PATHS --by all adds them"
        )
    return calibration.log_errors


def calibration_of(model: Model, config: SearchConfig) -> Calibration | None:
    """Look up the calibration for these settings; its scores are joined of the detectors there are.

    Where a pretrained network is missing, they are joined anew without it, as those of other images
    are, so that p-values stay valid.
    """
    calibration, features = model.calibration(config), model.features
    if calibration is None or calibration.z_scores is None or features is None:
        return calibration
    positions = [index for index, name in enumerate(features.detectors) if name in features.names]
    columns = [*positions, -1] if calibration.search.by == "all" else positions
    z_scores = calibration.z_scores[:, columns]
    if not np.isfinite(z_scores).all():  # calibrated where the network was missing
        return None
    if not features.missing:
        return calibration
    weights = [*part_weights(features, calibration.search).values()]
    return replace(calibration, scores=joined_z_scores(z_scores, weights))


def held_out_table(model: Model, z_scores: np.ndarray) -> np.ndarray:
    """Lay scores of the detectors that can be used into a table of all, (N, M), NaN for the others.

    z_scores: (N, M') of those, and of the reconstruction in a last column or not.
    """
    features = model.require_features()
    extra = z_scores.shape[1] - len(features.names)
    table = np.full((len(z_scores), len(features.detectors) + extra), np.nan)
    positions = [index for index, name in enumerate(features.detectors) if name in features.names]
    table[:, [*positions, -1] if extra else positions] = z_scores
    return table
