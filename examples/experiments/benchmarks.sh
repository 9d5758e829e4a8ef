#!/usr/bin/env bash
# The speed benchmarks on this machine, one text file each, with date and versions. Takes about ten
# minutes on two cores and wants them for itself.
#   bash examples/experiments/benchmarks.sh [cpu] [FOLDER]     # a name for the machine; pictures to train on
set -euo pipefail
out=examples/results/benchmarks-${1:-cpu}
mkdir -p "$out"
about() {
    date -u +%Y-%m-%d
    python -c 'import platform, torch; print("Python", platform.python_version(), "torch", torch.__version__)'
    echo "$ python $*"
    python "$@"
}
about examples/benchmark_search.py > "$out/search.txt"
about examples/benchmark_train.py > "$out/train.txt"
[ -z "${2:-}" ] || about examples/benchmark_train.py "$2" --quality 60 --size 32 > "$out/quality.txt"
about examples/benchmark_cli.py > "$out/cli.txt"
