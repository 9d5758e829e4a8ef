#!/usr/bin/env bash
# Tables of the methods that train a network, paper's protocol, at a budget for two CPU cores: a
# generator of width 32 trains 1,000 steps a class, five to ten minutes on one core, each autoencoder
# 75 seconds; 5,000 test items are then searched for in two to five minutes a method. Goes on where it
# was interrupted.
#   bash examples/results/networks.sh mnist --normal-class all
#   bash examples/results/networks.sh cifar10 --normal-class 0,1,8
# Needs the data below ./data or $ADGAN_DATA_ROOT (or add --download).
set -euo pipefail
out="examples/results/$(basename "$1")-networks"
evaluate() { # METHODS TIME ...
    OMP_NUM_THREADS=1 adgan evaluate --methods "$1" --max-time "$2" "${@:3}" \
        --width 32 --iters 1000 -o "$out"
}
gan=adgan,adgan-1,adgan-tuned,anogan,latent-prior,discriminator
evaluate "$gan" none --dataset "$1" "${@:2}"
out="examples/results/$(basename "$1")-autoencoders"
evaluate dcae,vae 75s --dataset "$1" "${@:2}"
