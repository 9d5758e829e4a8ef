#!/usr/bin/env bash
# Everything that only a GPU can tell, within 8 minutes on one H100: the tests marked gpu, training of
# each objective eager against captured, the search against the literal loop, torch.func.vmap and the
# floor of memory traffic, scores of CPU and GPU side by side, and a training and a ranking from end to
# end. A part that fails or takes too long leaves its log, and the next one follows.
#   bash examples/results/gpu.sh [OUT] [FOLDER]     # FOLDER: pictures, learned from and ranked at 64 pixels
# OUT (default: examples/results/gpu) gets a text file a part and summary.txt: what was run, how it
# ended, how long it took. PYTHON is the interpreter (default: python); adgan need not be installed.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${1:-examples/results/gpu} folder=${2:-} python=${PYTHON:-python}
mkdir -p "$out"
: > "$out/summary.txt"
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH PYTHONFAULTHANDLER=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

part() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 status=0 started=$SECONDS
    shift 2
    echo "== $name: $*"
    { echo "$ $*"; timeout --signal=INT --kill-after=10 "$limit" "$@" 2>&1; } > "$out/$name.txt" || status=$?
    local ended=done
    case $status in
        0) ;;
        124 | 137) ended="stopped after $limit s" ;;
        *) ended="failed with $status" ;;
    esac
    echo "$name: $ended, $((SECONDS - started)) s: $*" >> "$out/summary.txt"
    tail -n 25 "$out/$name.txt"
}

about='import platform as p, torch as t; print("Python", p.python_version(), "torch", t.__version__, t.version.cuda)'
part machine 30 bash -c "date -u +%Y-%m-%d; nvidia-smi; '$python' -c '$about'"
part tests 100 "$python" -m pytest -q -m gpu -p no:cacheprovider
part train 120 "$python" examples/benchmark_train.py --device cuda --captured
part search 60 "$python" examples/benchmark_search.py --device cuda
part devices 50 "$python" examples/benchmark_devices.py --device cuda
if [ -z "$folder" ]; then
    part digits 20 "$python" examples/digits.py "$work/digits"
    folder=$work/digits/train
fi
part end-to-end-train 60 "$python" -m adgan_cli train "$folder" -o "$work/model" --size 64 \
    --max-time 30s --device cuda -v
part end-to-end-rank 40 "$python" -m adgan_cli rank "$folder" -m "$work/model" -o "$work/report" \
    --device cuda -v
cat "$out/summary.txt"
