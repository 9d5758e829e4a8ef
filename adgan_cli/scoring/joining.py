"""What is joined into one score, by which weights, and the held-out scores to match."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from adgan_cli.config import SearchConfig
from adgan_cli.engine.features.ensemble import FeatureModel, Scale, joined_z_scores
from adgan_cli.engine.features.weights import fit_scale, weights
from adgan_cli.engine.models.model import Calibration, Model
from adgan_cli.errors import ConfigError

RECONSTRUCTION = "reconstruction"  # among the names of what is joined


def part_weights(
    features: FeatureModel, config: SearchConfig, error_scale: Scale | None = None
) -> dict[str, float]:
    """Return what each part of a joined score counts for, in the order of all tables.

    They add up to 1. There are no parts by reconstruction alone. error_scale: that of the
    reconstruction's errors, of which by all its weight is known.
    """
    if config.by == "reconstruction":
        return {}
    if config.by == "features":
        return features.weights
    assert error_scale is not None
    return with_reconstruction(features.weights, error_scale.weight)


def with_reconstruction(weights: Mapping[str, float], share: float) -> dict[str, float]:
    """Give the reconstruction its share of the weights of detectors: all add up to 1 again."""
    others = {name: weight * (1 - share) for name, weight in weights.items()}
    return {**others, RECONSTRUCTION: share}


def joined_names(model: Model, config: SearchConfig) -> tuple[str, ...]:
    """Name the parts of a score by these settings, in the order of all tables."""
    if config.by == "reconstruction" or model.features is None:
        return ()
    return (*model.features.names, RECONSTRUCTION) if config.by == "all" else model.features.names


def require_scoring(model: Model, config: SearchConfig) -> None:
    """Raise ConfigError where the model lacks what these settings score by, with the remedy."""
    if config.by != "features":
        model.require_generator()
    if config.by != "reconstruction":
        model.require_features()
    if config.by == "all":
        calibrated_error_scale(model, config)


def calibrated_error_scale(model: Model, config: SearchConfig) -> Scale:
    """Look up how errors of images held out lie; ConfigError where none were searched for."""
    calibration = model.calibration(config)
    if calibration is None or calibration.error_scale is None:
        raise ConfigError(
            "--by all needs scores of ordinary pictures with these settings, to compare the "
            "reconstruction's with: adgan calibrate PATHS --by all adds them"
        )
    return calibration.error_scale


def fit_error_scale(
    scales: Mapping[str, Scale], z_scores: np.ndarray, errors: np.ndarray, earned: float
) -> Scale:
    """Fit how the reconstruction's errors are standardised, and weigh them beside detectors.

    scales: of K detectors; z_scores: (N, K) of images held out; errors: (N,) of the same images;
    earned: the evidence of errors.
    """
    scale = fit_scale(errors, earned)
    table = np.column_stack([z_scores, scale.z_scores(errors)])
    share = weights({**scales, RECONSTRUCTION: scale}, table)[RECONSTRUCTION]
    return replace(scale, weight=share)


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
    shares = part_weights(features, calibration.search, calibration.error_scale)
    return replace(calibration, scores=joined_z_scores(z_scores, list(shares.values())))


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
