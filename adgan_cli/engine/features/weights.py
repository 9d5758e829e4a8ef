"""What each detector counts for in the joined score, chosen without a label.

Evidence is how well a detector tells altered copies of images, which it was not fitted to, from
these images: the AUC of each kind of alteration, averaged. Kinds that it takes for more ordinary
than the originals count against it: what calls blurred copies ordinary measures detail. Weights are
those of a linear discriminant (Fisher, 1936) whose means are the evidence above chance: detectors
that agree among ordinary images share a weight, as they repeat each other. Chosen among sixty rules
on digits, CIFAR-10 and textures with drawn defects (examples/experiments/joining_rules.py).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from adgan_cli.engine.features.ensemble import Scale, log

CHANCE = 0.5  # AUC of a detector that tells nothing
# added to the variance of z-scores, which is 1: correlations of some hundred images are not exact
RIDGE = 1.0
# of a network, where images have colours: what makes kinds of pictures differ it knows better than
# altered copies show
NETWORK_PRIOR = 2.0

Scores = Mapping[str, np.ndarray]  # of each detector by its name


def scales(
    validation: Scores, originals: Scores, altered: Mapping[str, Scores], channels: int
) -> dict[str, Scale]:
    """Fit how the scores of each detector are standardised, and weigh it.

    validation: scores (V,) of images that the detectors were not fitted to; originals: those of the
    A images among them that copies were made of; altered: kind -> scores (A,) of the copies;
    channels: of the images.
    """
    evidences = {
        name: evidence(originals[name], {kind: scores[name] for kind, scores in altered.items()})
        for name in validation
    }
    priors = network_priors(evidences, channels)
    fitted = {
        name: fit_scale(scores, evidences[name], priors.get(name, 1.0))
        for name, scores in validation.items()
    }
    z_scores = np.stack([fitted[name].z_scores(validation[name]) for name in fitted], axis=1)
    shares = weights(fitted, z_scores)
    return {name: replace(scale, weight=shares[name]) for name, scale in fitted.items()}


def network_priors(evidences: Mapping[str, float], channels: int) -> dict[str, float]:
    """Choose the factors of evidence above chance that are not 1, from the evidence of each part.

    Where images have colours the evidence of a pretrained network counts twice. Without one that of
    turns and shifts does where it is the largest: else altered copies say that textures matter.
    """
    best = "pretrained"
    if best not in evidences:
        best = max(evidences, key=lambda name: evidences[name], default="")
    is_network = best in ("pretrained", "transformations")
    return {best: NETWORK_PRIOR} if is_network and channels == 3 else {}


def fit_scale(validation: np.ndarray, evidence: float, prior: float = 1.0) -> Scale:
    """Fit how scores (V,) are standardised; the weight is still to be found."""
    logs = log(validation)
    return Scale(float(logs.mean()), float(logs.std()), 0.0, evidence, prior)


def evidence(originals: np.ndarray, altered: Mapping[str, np.ndarray]) -> float:
    """Average the AUC over the kinds of altered copies against the originals; 0.5 without any."""
    if not altered:
        return CHANCE
    return float(np.mean([_auc(originals, copies) for copies in altered.values()]))


def weights(scales: Mapping[str, Scale], z_scores: np.ndarray) -> dict[str, float]:
    """Weigh K parts by their evidence and correlations: at least 0, and together 1.

    z_scores: (V, K) of ordinary images, in the order of `scales`. The weights w minimise
    w' (R + RIDGE I) w / 2 - w' m among those that are not negative, for the correlations R and the
    evidence above chance m. Where no part tells anything, all count alike.
    """
    from scipy.optimize import nnls  # part of a second to import, which scoring does without

    above = np.array([scale.prior * max(0.0, scale.evidence - CHANCE) for scale in scales.values()])
    if not above.any():
        return dict.fromkeys(scales, 1 / len(above))
    factor = np.linalg.cholesky(_correlations(z_scores) + RIDGE * np.eye(len(above)))
    shares, _ = nnls(factor.T, np.linalg.solve(factor, above))
    return dict(zip(scales, (shares / shares.sum()).tolist(), strict=True))


def _correlations(z_scores: np.ndarray) -> np.ndarray:
    """Correlate columns, (V, K) -> (K, K); one that is the same for all images has none."""
    centred = z_scores - z_scores.mean(0)
    lengths = np.linalg.norm(centred, axis=0)
    unit = centred / np.where(lengths > 0, lengths, 1)
    correlations: np.ndarray = unit.T @ unit
    return correlations


def _auc(originals: np.ndarray, copies: np.ndarray) -> float:
    """Compute the chance that a copy scores higher than an original; ties count half."""
    ordered = np.sort(originals)
    below, up_to = (np.searchsorted(ordered, copies, side) for side in ("left", "right"))
    return float((below + up_to).mean() / 2 / len(originals))
