#!/usr/bin/env bash
# Tables of the methods that train no network: MNIST (or another data set), all ten
# classes, paper's protocol. Takes about 10 minutes a data set on one core, and another 25 for the
# Gaussian mixtures. Needs the data below ./data or $ADGAN_DATA_ROOT (or add --download); goes on
# where it was interrupted.
#   bash examples/experiments/simple.sh mnist
#   bash examples/experiments/simple.sh cifar10
#   bash examples/experiments/simple.sh data/cifar10 --size 32     # the same as folders of pictures
set -euo pipefail
evaluate() { # NAME METHODS ...
    adgan evaluate --dataset "$data" --normal-class all --methods "$2" \
        -o "examples/results/$(basename "$data")-$1" "${@:3}"
}
data=$1
methods=mean-image,mean-image-relative,pca,pca-relative,file-complexity
methods+=,kde,kde-free,ocsvm,ocsvm-free,iforest,iforest-free
evaluate simple "$methods" "${@:2}"
evaluate gmm gmm,gmm-free "${@:2}"
