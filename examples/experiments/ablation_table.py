"""Make a table of what `ablation.py run` kept."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from adgan_cli.config import PAPER_SEARCH, SearchConfig
from adgan_cli.evaluation.metrics import roc_auc

STEPS = (0, 1, 2, 3, 5, 10, 25)  # of the searches, after which the table looks
BOOTSTRAPS = 200


@dataclass(frozen=True)
class Logged:
    """The losses of one search with one generator for the test pictures of one class."""

    dataset: str
    name: str  # of the class
    generator: str
    search: str
    config: SearchConfig
    losses: np.ndarray  # (N, S, k + 1)
    deviation: np.ndarray  # (N,), squared, of each picture from the means of its channels
    anomalous: np.ndarray  # (N,) bool
    seconds: float  # for one picture, one point and one step


@dataclass(frozen=True)
class Row:
    """One score, over all classes that have it."""

    generator: str
    search: str
    k: int
    points: int
    reduce: str
    relative: bool
    aucs: dict[str, float]  # by class
    milliseconds: float  # a picture
    scored: list[tuple[np.ndarray, np.ndarray]]  # anomalous and score, (N,) each, of every class

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.aucs.values())))

    def interval(self) -> tuple[float, float]:
        """Return the 95% bootstrap interval of the mean."""
        rng, again = np.random.default_rng(0), np.zeros(BOOTSTRAPS)
        for anomalous, score in self.scored:
            drawn = rng.integers(len(score), size=(BOOTSTRAPS, len(score)))
            odd, ranks = anomalous[drawn], rankdata(score[drawn], axis=1)
            count = odd.sum(1)
            # Mann and Whitney's U: all at once, where a table has hundreds of rows
            above = (ranks * odd).sum(1) - count * (count + 1) / 2
            again += above / (count * (len(score) - count)) / len(self.scored)
        low, high = np.quantile(again, [0.025, 0.975])
        return low, high


def logs(outs: list[Path]) -> Iterator[Logged]:
    for path in sorted(path for out in outs for path in out.glob("*/*/*.npz")):
        with np.load(path, allow_pickle=False) as kept:
            dataset, _, name = path.parts[-3].partition("-")
            config = replace(PAPER_SEARCH, **json.loads(str(kept["config"])))
            losses = kept["losses"].astype(np.float64)
            if config.init == "both":  # the encoder's point, the last, is the first to be looked at
                losses = np.roll(losses, 1, 1)
            yield Logged(
                dataset,
                name,
                path.parts[-2],
                path.stem,
                config,
                losses,
                kept["deviation"].astype(np.float64),
                kept["anomalous"],
                float(kept["seconds"]),
            )


def ensembles(single: list[Logged]) -> Iterator[Logged]:
    """Yield every log, and one that joins those which differ in the generator's seed alone."""
    yield from single
    alike: dict[tuple[str, str, str, str], list[Logged]] = {}
    for log in single:
        base = log.generator.partition("@")[0]
        alike.setdefault((log.dataset, log.name, base, log.search), []).append(log)
    for (_, _, base, _), several in alike.items():
        if len(several) > 1:
            # the first point of each, the second of each, ...
            losses = np.stack([log.losses for log in several], 2)
            losses = losses.reshape(len(losses), -1, losses.shape[-1])
            seconds = float(np.mean([log.seconds for log in several]))
            yield replace(
                several[0], generator=f"{base} x{len(several)}", losses=losses, seconds=seconds
            )


def print_table(args: argparse.Namespace) -> None:
    results: dict[tuple[str, str], list[Logged]] = {}
    for log in ensembles(list(logs(args.out))):
        results.setdefault((log.generator, log.search), []).append(log)
    most = max(len(several) for several in results.values())
    rows = [
        row
        for several in results.values()
        if len(several) == most  # means over other classes do not compare
        for row in variants(several, args.all_losses)
        if args.k in (None, row.k)
        and args.points in (None, row.points)
        and args.reduce in (None, row.reduce)
    ]
    rows.sort(key=lambda row: -row.mean)
    classes = sorted(rows[0].aucs)
    print(
        f"{'generator':<18}{'search':<19}{'k':>3}{'points':>7} {'reduce':<7}{'error':<9}"
        f"{'mean':<7}{'95%':<15}{'ms':>7}  " + "  ".join(classes)
    )
    for row in rows[: args.top]:
        error = "relative" if row.relative else "as is"
        low, high = row.interval()
        print(
            f"{row.generator:<18}{row.search:<19}{row.k:>3}{row.points:>7} {row.reduce:<7}"
            f"{error:<9}{row.mean:.3f}  {low:.3f}-{high:.3f}  {row.milliseconds:>7.2f}  "
            + "  ".join(f"{row.aucs[name]:<{len(name)}.3f}" for name in classes)
        )


def variants(several: list[Logged], all_losses: bool) -> Iterator[Row]:
    one = several[0]
    points = one.losses.shape[1]
    counts = sorted({1, 2, 4, 8, points} & set(range(1, points + 1)))
    for k in (k for k in STEPS if k < one.losses.shape[2]):
        for count in counts:
            for reduce in ("mean", "min") if count > 1 else ("mean",):
                for relative in (False, True) if one.config.loss == "l2" else (False,):
                    if one.config.loss == "l2" and not relative and not all_losses:
                        continue
                    yield variant(several, k, count, reduce, relative)


def variant(several: list[Logged], k: int, count: int, reduce: str, relative: bool) -> Row:
    aucs, scored = {}, []
    for log in several:
        some = log.losses[:, :count, k]
        score = some.mean(1) if reduce == "mean" else some.min(1)
        score = score / log.deviation if relative else score
        aucs[f"{log.dataset}-{log.name}"] = roc_auc(log.anomalous, score)
        scored.append((log.anomalous, score))
    one = several[0]
    cost = 1e3 * float(np.mean([log.seconds for log in several])) * (k + 1) * count
    return Row(one.generator, one.search, k, count, reduce, relative, aucs, cost, scored)
