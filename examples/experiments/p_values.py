"""Test p-values: of ordinary pictures, a share u should have p at most u.

    python examples/experiments/p_values.py MODEL SCORES.csv --normal 'bedroom/*'

SCORES.csv is what `adgan score` or `rank` wrote with MODEL's own search settings; the rows whose
paths match --normal are ordinary pictures that the model has not seen. They and the pictures that
training held out should score alike: the Kolmogorov-Smirnov test of two samples says whether they
do. (One against the uniform distribution would take the held-out pictures for infinitely many.)
"""

import argparse
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from scipy.stats import betabinom, ks_2samp

from adgan_cli.engine.models.files import load_model
from adgan_cli.scoring.adjust import held_out_scores
from adgan_cli.scoring.rows import read_scores

LEVELS = 0.01, 0.05, 0.1, 0.25, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--normal", required=True, help="pattern of the ordinary pictures' paths")
    args = parser.parse_args()
    model = load_model(args.model)
    held_out = held_out_scores(model, model.search)
    if held_out is None:
        parser.error(f"{args.model} holds no scores of unseen pictures")
    rows = [row for row in read_scores(args.scores) if fnmatch(row.path, args.normal)]
    scored = [(row.score, row.p_value) for row in rows if row.p_value is not None]
    if not scored:
        parser.error(f"no row of {args.scores} matches {args.normal} and has a p-value")
    scores, p = (np.array(column, np.float64) for column in zip(*scored, strict=True))
    test = ks_2samp(scores, held_out)
    print(
        f"{len(p)} ordinary pictures against {len(held_out)} held out: "
        f"Kolmogorov-Smirnov {test.statistic:.3f}, p = {test.pvalue:.2f}"
    )
    print("level  share of p-values at most that, and where 95% of trials would be")
    for level in LEVELS:
        # of the (n + 1) places among those held out, floor(level (n + 1)) give p <= level
        places = int(level * (len(held_out) + 1))
        if places:
            trial = betabinom(len(p), places, len(held_out) + 1 - places)
            low, high = (trial.ppf(tail) / len(p) for tail in (0.025, 0.975))
            print(f"{level:<7}{np.mean(p <= level + 1e-12):.3f}   {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
