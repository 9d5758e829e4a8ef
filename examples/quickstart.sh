#!/usr/bin/env bash
# From a clean clone to a contact sheet: installs into .venv, writes small real pictures (the
# handwritten digits of scikit-learn), learns one digit, finds the intruders among 60 pictures.
# The same commands work on a folder of yours.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/venv.sh
install_adgan ''
. .venv/bin/activate

data=quickstart-data
rm -rf "$data"
python examples/digits.py "$data"
adgan train "$data/train" -o "$data/model" --size 16 --width 32 -b 64 --iters 1000
adgan rank "$data/val" -m "$data/model" -o "$data/report" --top 15 --fdr 0.05
python examples/auc.py "$data/report/ranking.csv" --normal 'digit-*'
echo "the sheet: $data/report/index.html"
