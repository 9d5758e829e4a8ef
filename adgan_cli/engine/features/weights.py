"""What each detector counts for in the joined score, chosen without a label.

Evidence is how well a detector tells altered copies of images, which it was not fitted to, from
these images: the AUC of each kind of alteration, averaged. Kinds that it takes for more ordinary
than the originals count against it: what calls blurred copies ordinary measures detail. Weights are
the evidence above chance. On digits, vehicles and textures with drawn defects hardly one of some
fifty rules (examples/experiments/joining_rules.py) was better, and equal weights were worse where
one detector was near chance or much stronger than the others.
"""

from collections.abc import Mapping

import numpy as np

from adgan_cli.engine.features.ensemble import Scale, log

CHANCE = 0.5  # AUC of a detector that tells nothing

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
    """Weigh detectors by their evidence above chance: at least 0, and together 1.

    Where no detector tells anything, all count alike.
    """
    above = {name: max(0.0, value - CHANCE) for name, value in evidence.items()}
    total = sum(above.values())
    if total == 0:
        return dict.fromkeys(evidence, 1 / len(evidence))
    return {name: value / total for name, value in above.items()}


def _auc(originals: np.ndarray, copies: np.ndarray) -> float:
    """Compute the chance that a copy scores higher than an original; ties count half."""
    ordered = np.sort(originals)
    below, up_to = (np.searchsorted(ordered, copies, side) for side in ("left", "right"))
    return float((below + up_to).mean() / 2 / len(originals))
