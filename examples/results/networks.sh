#!/usr/bin/env bash
# Tables of the methods that train a network, paper's protocol, at a budget for two CPU cores: a
# generator of width 32 trains 1,000 steps a class, about seven minutes on one core, and 5,000 test
# items are then searched for in three to four more. Goes on where it was interrupted.
#   bash examples/results/networks.sh mnist --normal-class all
#   bash examples/results/networks.sh cifar10 --normal-class 0
# Needs the data below ./data or $ADGAN_DATA_ROOT (or add --download).
set -euo pipefail
OMP_NUM_THREADS=1 adgan evaluate --dataset "$1" --methods discriminator "${@:2}" \
    --width 32 --iters 1000 --max-time 15m -o "examples/results/$(basename "$1")-networks"
adgan evaluate --dataset "$1" --methods adgan,adgan-1,latent-prior,discriminator "${@:2}" \
    --width 32 --iters 1000 --max-time 15m -o "examples/results/$(basename "$1")-networks"
