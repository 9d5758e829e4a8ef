#!/usr/bin/env bash
# Tables of the methods that train a network, paper's protocol, at a budget for two CPU cores: a
# generator of width 32 trains 1,000 steps a class, five to ten minutes on one core, each autoencoder
# 75 seconds; 5,000 test items are then searched for in two to five minutes a method. Goes on where it
# was interrupted.
#   bash examples/experiments/networks.sh mnist --normal-class all
#   bash examples/experiments/networks.sh cifar10 --normal-class 0,1,8
#   bash examples/experiments/networks.sh data/cifar10 --size 32 --normal-class airplane,automobile,ship
#   bash examples/experiments/networks.sh data/rooms --size 64 --normal-class bedroom
# Rooms, being larger, train by the clock: 15 minutes the generator, 5 an autoencoder.
# Needs the data below ./data or $ADGAN_DATA_ROOT (or add --download).
set -euo pipefail
name=$(basename "$1") gan_time=none autoencoder_time=75s steps="--iters 1000"
if [ "$name" = rooms ]; then gan_time=15m autoencoder_time=5m steps=; fi
evaluate() { # FOLDER METHODS TIME ...
    # shellcheck disable=SC2086  # nothing or two words
    OMP_NUM_THREADS=1 adgan evaluate --methods "$2" --max-time "$3" "${@:4}" \
        --width 32 $steps -o "examples/results/$name-$1"
}
gan=adgan,adgan-1,adgan-tuned,anogan,latent-prior,discriminator
evaluate networks "$gan" "$gan_time" --dataset "$1" "${@:2}"
evaluate autoencoders dcae,vae "$autoencoder_time" --dataset "$1" "${@:2}"
