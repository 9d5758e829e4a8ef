"""Rules that join the scores of several detectors, none of which looks at a label.

`features_study.py table` applies them all. Letters in the shapes: K detectors, V validation images,
A altered copies of each kind, M test images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm, rankdata

from adgan_cli.engine.features.ensemble import Scale, joined_z_scores
from adgan_cli.engine.features.weights import network_priors, weights

TINY = 1e-12
GLOBAL = ("quarters", "cells", "hue")  # alterations of the whole picture; the others are small


@dataclass(frozen=True, eq=False)
class DetectorScores:
    """The raw scores of one detector on one task."""

    validation: np.ndarray  # (V,)
    copied: np.ndarray  # (A,) those of validation that copies were made of
    altered: Mapping[str, np.ndarray]  # kind -> (A,)
    test: np.ndarray  # (M,)
    seconds: float = 0.0  # to fit
    each: float = 0.0  # seconds to score one image


Task = Mapping[str, DetectorScores]  # by the detectors' names
Rule = Callable[[Task], np.ndarray]  # -> (M,)


def auc(normal: np.ndarray, anomalous: np.ndarray) -> float:
    """Compute the chance that an anomalous score is above a normal one; ties count half."""
    ranks = rankdata(np.concatenate([normal, anomalous]))[len(normal) :]
    n = len(anomalous)
    return float((ranks.sum() - n * (n + 1) / 2) / (len(normal) * n))


def logs(scores: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(scores, TINY))


def z_of_logs(one: DetectorScores, scores: np.ndarray) -> np.ndarray:
    """Standardise logarithms by those of the validation images."""
    reference = logs(one.validation)
    return (logs(scores) - reference.mean()) / max(reference.std(), 1e-6)


def robust_z(one: DetectorScores, scores: np.ndarray) -> np.ndarray:
    """Standardise logarithms by median and upper spread: what is unusual lies above."""
    low, high = np.quantile(logs(one.validation), [0.5, 0.9])
    return (logs(scores) - low) / max(high - low, 1e-6)


def p_values(one: DetectorScores, scores: np.ndarray) -> np.ndarray:
    """Compute conformal p-values: the share of validation images that score as high."""
    ordered = np.sort(one.validation)
    above = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return (above + 1) / (len(ordered) + 1)


def z_matrix(task: Task, names: Sequence[str] | None = None) -> np.ndarray:
    """Stack z-scores of logs: (K, M)."""
    return np.stack([z_of_logs(task[n], task[n].test) for n in names or task])


def evidence(one: DetectorScores, kinds: Sequence[str] | None = None) -> float:
    """Average the AUC of the altered copies against their originals over kinds."""
    return float(np.mean([auc(one.copied, one.altered[k]) for k in kinds or one.altered]))


def weighted(weigh: Callable[[Task], np.ndarray]) -> Rule:
    """Make a rule of weights: Task -> (K,), at least one of them above 0."""

    def rule(task: Task) -> np.ndarray:
        weights = np.maximum(weigh(task), 0)
        weights = weights if weights.sum() > 0 else np.ones(len(task))
        return weights @ z_matrix(task) / weights.sum()

    return rule


def by_evidence(power: float, kinds: Sequence[str] | None = None, least: float = 0.0) -> Rule:
    """Weigh by (AUC - 0.5) to a power; below 0.5 + least a detector counts for nothing."""

    def weigh(task: Task) -> np.ndarray:
        above = np.array([evidence(one, kinds) for one in task.values()]) - 0.5
        return np.where(above >= least, np.maximum(above, 1e-9) ** power, 0)

    return weighted(weigh)


def floored_evidence(one: DetectorScores, without: Sequence[str] = ()) -> float:
    """Average (AUC - 0.5) over kinds where it is above 0: to be blind to a kind is no fault."""
    values = [auc(one.copied, copies) for k, copies in one.altered.items() if k not in without]
    return float(np.mean(np.maximum(np.array(values) - 0.5, 0)))


def by_floored(power: float, without: Sequence[str] = ()) -> Rule:
    """Weigh by floored evidence to a power."""
    return weighted(
        lambda task: np.array([floored_evidence(one, without) ** power for one in task.values()])
    )


def by_best_kinds(power: float, count: int) -> Rule:
    """Weigh by the mean evidence of the kinds that a detector tells best."""

    def weigh(task: Task) -> np.ndarray:
        best = []
        for one in task.values():
            values = sorted(auc(one.copied, copies) for copies in one.altered.values())
            best.append(max(np.mean(values[-count:]) - 0.5, 1e-9))
        return np.array(best) ** power

    return weighted(weigh)


def clipped_by(power: float, low: float) -> Rule:
    """Weigh by floored evidence to a power what z-scores are above a bound."""

    def rule(task: Task) -> np.ndarray:
        weights = np.array([floored_evidence(one) ** power for one in task.values()])
        return weights @ np.maximum(z_matrix(task), low) / max(weights.sum(), 1e-9)

    return rule


def softplus_by(evidence_of: Callable[[DetectorScores], float], power: float) -> Rule:
    """Weigh by evidence to a power log(1 + exp(z)): as clipped at 0, but without ties."""

    def rule(task: Task) -> np.ndarray:
        weights = np.array([max(evidence_of(one), 0) ** power for one in task.values()])
        return weights @ np.logaddexp(0, z_matrix(task)) / max(weights.sum(), 1e-9)

    return rule


def above_chance(one: DetectorScores) -> float:
    return evidence(one) - 0.5


def discriminant(priors: Mapping[str, float] | None = None) -> Rule:
    """Join as adgan does: weights of a discriminant, the evidence of some detectors times a factor.

    priors: the factors; None: those of adgan. Of grey images, which have no other hue, evidence
    counts as it is. A part of the pretrained network counts as the whole.
    """

    def rule(task: Task) -> np.ndarray:
        channels = 3 if any("hue" in one.altered for one in task.values()) else 1
        kinds = {name: name.partition("-")[0] for name in task}
        evidences = {name: evidence(one) for name, one in task.items()}
        factors = network_priors({kinds[name]: one for name, one in evidences.items()}, channels)
        if priors is not None:
            factors = dict(priors) if channels == 3 else {}
        scales = {
            name: Scale(0.0, 1.0, 0.0, evidences[name], factors.get(kinds[name], 1.0))
            for name in task
        }
        validation = np.stack([z_of_logs(one, one.validation) for one in task.values()], axis=1)
        shares = weights(scales, validation)
        return joined_z_scores(z_matrix(task).T, list(shares.values()))

    return rule


def power_mean(power: float) -> Rule:
    """Average powers of z-scores above 0: sure detectors count for more."""
    return lambda task: np.mean(np.maximum(z_matrix(task), 0) ** power, axis=0)


def best_by_evidence(task: Task) -> np.ndarray:
    """Score by the one detector that tells altered copies best."""
    values = [evidence(one) for one in task.values()]
    return z_matrix(task)[int(np.argmax(values))]


def by_shift(power: float = 1.0) -> Rule:
    """Weigh by how many deviations altered copies lie above their originals, in the median."""

    def weigh(task: Task) -> np.ndarray:
        shifts = []
        for one in task.values():
            before = z_of_logs(one, one.copied)
            after = [np.median(z_of_logs(one, copies) - before) for copies in one.altered.values()]
            shifts.append(np.clip(np.mean(after), 0, 3))
        return np.array(shifts) ** power

    return weighted(weigh)


def decorrelated(with_evidence: bool, ridge: float = 0.5) -> Rule:
    """Weigh by the inverse of the detectors' correlations among validation images."""

    def weigh(task: Task) -> np.ndarray:
        z = np.stack([z_of_logs(one, one.validation) for one in task.values()])
        covariance = np.cov(z) + ridge * np.eye(len(z)) if len(z) > 1 else np.eye(1)
        means = np.ones(len(z))
        if with_evidence:
            means = np.maximum([evidence(one) - 0.5 for one in task.values()], 0)
        return np.linalg.solve(covariance, means)

    return weighted(weigh)


def mean_of(transform: Callable[[DetectorScores, np.ndarray], np.ndarray]) -> Rule:
    """Average something of every detector."""
    return lambda task: np.mean([transform(one, one.test) for one in task.values()], axis=0)


def soft_maximum(sharpness: float) -> Rule:
    """Join by a soft maximum of z-scores: one detector that is sure is enough."""
    return lambda task: logsumexp(sharpness * z_matrix(task), axis=0)


def clipped(low: float, high: float) -> Rule:
    """Average z-scores within bounds: to be very ordinary is no merit."""
    return mean_of(lambda one, scores: np.clip(z_of_logs(one, scores), low, high))


RULES: Mapping[str, Rule] = {
    "equal weights": mean_of(z_of_logs),
    "equal, robust z": mean_of(robust_z),
    "equal, z in [-1, inf)": clipped(-1, np.inf),
    "equal, z in [0, inf)": clipped(0, np.inf),
    "equal, z in [-3, 6]": clipped(-3, 6),
    "equal, z of raw scores": mean_of(
        lambda one, scores: (scores - one.validation.mean()) / max(one.validation.std(), TINY)
    ),
    "mean of ranks (1 - p)": mean_of(lambda one, scores: 1 - p_values(one, scores)),
    "Fisher (-log p)": mean_of(lambda one, scores: -np.log(p_values(one, scores))),
    "Stouffer (normal quantiles)": mean_of(lambda one, scores: -norm.ppf(p_values(one, scores))),
    "soft maximum 0.5": soft_maximum(0.5),
    "soft maximum 1": soft_maximum(1.0),
    "maximum": lambda task: z_matrix(task).max(0),
    "evidence >= .55, equal": by_evidence(0, least=0.05),
    "evidence >= .60, equal": by_evidence(0, least=0.1),
    "evidence >= .65, equal": by_evidence(0, least=0.15),
    "evidence": by_evidence(1),
    "evidence^2": by_evidence(2),
    "evidence^3": by_evidence(3),
    "evidence^2, whole-picture kinds": by_evidence(2, GLOBAL[:2]),
    "evidence^2, quarters": by_evidence(2, ("quarters",)),
    "evidence^2, pasted": by_evidence(2, ("pasted",)),
    "evidence^2, small defects": by_evidence(2, ("scratch", "stain", "missing")),
    "floored evidence": by_floored(1),
    "floored evidence^2": by_floored(2),
    "floored evidence^0.5": by_floored(0.5),
    "floored, without blur": by_floored(1, ("blur",)),
    "floored^2, without blur": by_floored(2, ("blur",)),
    "floored, no blur, no cells": by_floored(1, ("blur", "cells")),
    "three best kinds": by_best_kinds(1, 3),
    "three best kinds^2": by_best_kinds(2, 3),
    "floored, z in [0, inf)": clipped_by(1, 0),
    "floored, z in [-1, inf)": clipped_by(1, -1),
    "floored^2, z in [0, inf)": clipped_by(2, 0),
    "equal, softplus": softplus_by(lambda one: 1.0, 1),
    "floored, softplus": softplus_by(floored_evidence, 1),
    "floored^1.5, softplus": softplus_by(floored_evidence, 1.5),
    "floored^2, softplus": softplus_by(floored_evidence, 2),
    "floored^3, softplus": softplus_by(floored_evidence, 3),
    "evidence, softplus": softplus_by(above_chance, 1),
    "evidence^1.5, softplus": softplus_by(above_chance, 1.5),
    "evidence^2, softplus": softplus_by(above_chance, 2),
    "power mean 1.5": power_mean(1.5),
    "power mean 2": power_mean(2),
    "power mean 3": power_mean(3),
    "best by evidence": best_by_evidence,
    "shift": by_shift(),
    "shift^2": by_shift(2.0),
    "discriminant": discriminant(),
    "discriminant, no prior": discriminant({}),
    "discriminant, pretrained x 2": discriminant({"pretrained": 2.0}),
    "discriminant, pretrained x 3": discriminant({"pretrained": 3.0}),
    "discriminant, turns x 1.5": discriminant({"pretrained": 2.0, "transformations": 1.5}),
    "discriminant, turns x 2": discriminant({"pretrained": 2.0, "transformations": 2.0}),
    "discriminant, turns x 3": discriminant({"pretrained": 2.0, "transformations": 3.0}),
    "decorrelated": decorrelated(False),
    "decorrelated, evidence": decorrelated(True),
}
