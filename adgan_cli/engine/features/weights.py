"""What each detector counts for in the joined score, chosen without a label.

Evidence is how well a detector tells altered copies of images, which it was not fitted to, from
these images: the AUC of each kind of alteration, averaged.
"""

from collections.abc import Mapping

import numpy as np
from scipy.stats import rankdata

from adgan_cli.engine.features.ensemble import Scale, log

CHANCE = 0.5  # AUC of a detector that tells nothing
LEAST = 0.05  # above chance; less is luck, and counts for nothing

Scores = Mapping[str, np.ndarray]  # of each detector by its name


def scales(
    validation: Scores, originals: Scores, altered: Mapping[str, Scores]
) -> dict[str, Scale]:
    """Fit how the scores of each detector are standardised, and weigh it by its evidence.

    validation: scores (V,) of images that the detectors were not fitted to; originals: those of the
    A images among them that copies were made of; altered: kind -> scores (A,) of the copies.
    """
    gathered = {
        name: evidence(scores, {kind: copies[name] for kind, copies in altered.items()})
        for name, scores in originals.items()
    }
    shares = weights(gathered)
    fitted = {}
    for name, scores in validation.items():
        logs = log(scores)
        fitted[name] = Scale(float(logs.mean()), float(logs.std()), shares[name], gathered[name])
    return fitted


def evidence(originals: np.ndarray, altered: Mapping[str, np.ndarray]) -> float:
    """Average the AUC over the kinds of altered copies against the originals; 0.5 without any."""
    if not altered:
        return CHANCE
    return float(np.mean([_auc(originals, copies) for copies in altered.values()]))


def weights(evidence: Mapping[str, float]) -> dict[str, float]:
    """Share the weight out equally among the detectors that tell something: they add up to 1.

    Where none does, all count alike.
    """
    useful = [name for name, value in evidence.items() if value >= CHANCE + LEAST]
    useful = useful or list(evidence)
    return {name: 1 / len(useful) if name in useful else 0.0 for name in evidence}


def _auc(originals: np.ndarray, copies: np.ndarray) -> float:
    """Compute the chance that a copy scores higher than an original; ties count half."""
    ranks = rankdata(np.concatenate([originals, copies]))[len(originals) :]
    least = len(copies) * (len(copies) + 1) / 2
    return float((ranks.sum() - least) / (len(originals) * len(copies)))
