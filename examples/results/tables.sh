#!/usr/bin/env bash
# Tables 1 and 2 of the paper at the paper's length: all ten classes of MNIST and CIFAR-10, ADGAN with
# 256 latent dimensions and wgan-gp, 20,000 generator steps a class, and this program's own default
# beside it. Stops cleanly when MINUTES are over and goes on from its folder at the next call, on this
# machine or on another that the folder was copied to; a training that was cut goes on at its last save.
#   bash examples/results/tables.sh 480                      # a night on two cores is a beginning
#   bash examples/results/tables.sh 9 mnist data/cifar10     # sets, or folders of classes (32 pixels)
# Sets are below ./data or $ADGAN_DATA_ROOT. TABLES is the folder (default: tables), STEPS the steps.
set -euo pipefail
minutes=${1:?usage: bash examples/results/tables.sh MINUTES [SET|FOLDER ...]}
sets=("${@:2}")
[ ${#sets[@]} -gt 0 ] || sets=(mnist cifar10)
out=${TABLES:-tables} steps=${STEPS:-20000}
methods=adgan,adgan-1,adgan-tuned,all-joined
end=$((SECONDS + 60 * minutes))

for index in "${!sets[@]}"; do
    set_=${sets[index]} name=$(basename "${sets[index]}")
    # an equal share of what is left for each set that is to come: both tables grow
    share=$(((end - SECONDS) / (${#sets[@]} - index)))
    [ "$share" -gt 0 ] || break
    size=()
    [ ! -d "$set_" ] || size=(--size 32)
    status=0
    # TERM and not INT, which a shell lets its background jobs ignore
    timeout --signal=TERM --kill-after=60 "$share" \
        adgan evaluate --dataset "$set_" "${size[@]}" --normal-class all --methods "$methods" \
        --iters "$steps" --max-time none -o "$out/$name" || status=$?
    case $status in
        0) echo "$name: complete" ;;
        124 | 130 | 143) echo "$name: stopped; the same command goes on" ;;
        *) echo "$name: ended with $status; the next set follows" ;;
    esac
    if [ -e "$out/$name/table.md" ]; then
        mkdir -p "examples/results/paper-$name"
        cp "$out/$name"/{table.md,results.json,roc.png} "examples/results/paper-$name"
    fi
done
