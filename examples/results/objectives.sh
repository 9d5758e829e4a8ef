#!/usr/bin/env bash
# What each objective has learned to draw after the same number of pictures or so: one grid of samples
# each, of one MNIST digit, 32 pixels. Takes about 15 minutes on one core.
#   bash examples/results/objectives.sh MNIST/train/8
set -euo pipefail
out=examples/results/objectives
mkdir -p "$out"
sample() { # OBJECTIVE STEPS ...
    OMP_NUM_THREADS=1 adgan train "$digits" -o "$models/$1" --objective "$1" --iters "$2" \
        --size 32 --width 32 --latent-dim 64 --max-time none -q "${@:3}"
    cp "$models/$1/samples/$(printf %06d "$2").png" "$out/$1.png"
    cp "$models/$1/samples/real.png" "$out/real.png"
}
digits=$1 models=$(mktemp -d)
trap 'rm -rf "$models"' EXIT
for objective in wgan-gp wgan; do sample "$objective" 600; done
for objective in gan gan-saturating lsgan vae glo; do sample "$objective" 2000; done
sample mmd 1000 --batch-size 256
