"""Print the AUC of a table of scores, when the paths say which pictures are normal.

    python examples/auc.py adgan-report/ranking.csv --normal 'bedroom/*'

The AUC is the chance that an anomalous picture scores higher than a normal one. Files that could
not be read have no score; they are left out and counted.
"""

import argparse
from fnmatch import fnmatch
from pathlib import Path

from adgan_cli import read_scores, roc_auc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", type=Path, help="ranking.csv, or what adgan score wrote")
    parser.add_argument("--normal", required=True, help="pattern of the normal pictures' paths")
    args = parser.parse_args()

    rows = read_scores(args.scores)
    scored = [row for row in rows if row.score is not None]
    anomalous = [not fnmatch(row.path, args.normal) for row in scored]
    auc = roc_auc(anomalous, [row.score for row in scored])
    left_out = f", {len(rows) - len(scored)} without a score" if len(scored) < len(rows) else ""
    print(f"AUC {auc:.3f} ({sum(anomalous)} anomalous of {len(scored)}{left_out})")


if __name__ == "__main__":
    main()
