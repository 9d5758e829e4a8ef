#!/usr/bin/env bash
# The study of generators, losses and searches: three of MNIST's digits, 2, 5 and 8, which are hard,
# and three of CIFAR-10's classes, half of the steps of examples/experiments/ablation.py, 400 test pictures a
# class; then bedrooms among other rooms. Takes about three hours on one core; what is there is not
# done again.
#   bash examples/experiments/study.sh DATA_ROOT DATA/cifar10 DATA/rooms   # MNIST's files; folders
# It leaves tables in examples/results/study and what each objective draws in .../objectives.
set -euo pipefail
export OMP_NUM_THREADS=1
out=${STUDY:-study} tables=examples/results/study pictures=examples/results/objectives
run="python examples/experiments/ablation.py run"
few="--budget 0.5 --items 400"
mnist() { $run mnist --data-root "$root" --classes 2 5 8 $few --out "$out/mnist" "$@"; }
cifar() { $run "$folder" --size 32 --classes automobile cat ship $few --out "$out/cifar10" "$@"; }
rooms() {
    $run "$bedrooms" --size 64 --classes bedroom --flip --items 600 --out "$out/rooms" "$@"
}
root=$1 folder=$2 bedrooms=$3
core="none-0.1 mix-0.1 ssim-relative"
both="both mix-both ssim-relative-both ssim-relative-near"
started="mix-both both-0.1 ssim-relative-near mix-both-near three-both three-both-near"
every="paper per-image none none-25 decay shell encoder l1 laplacian ssim gradient critic anogan"

mnist --generators vae-32 glo-32 vae-16 wgan-gp-256 --searches $core $both
mnist --generators lsgan-32 mmd-32 wgan-gp-64 --searches $core
mnist --generators gan-32 --searches $core $started
mnist --generators vae-32 --seeds 1 2 --searches $core $both
cifar --generators vae-32 wgan-gp-256 glo-32 vae-64 --searches $core $both
cifar --generators gan-32 --searches $core $started
rooms --generators gan-32 --searches $core $started
rooms --generators wgan-gp-256 --budget 0.85 --searches $core $started
mnist --generators gan-32 --searches $every
$run mnist --data-root "$root" --classes 2 $few --out "$out/mnist" \
    --generators gan-saturating-32 wgan-256 --searches none-0.1

mkdir -p "$tables" "$pictures"
for name in mnist cifar10; do
    show="python examples/experiments/ablation.py table $out/$name"
    $show --points 8 --k 5 --reduce mean --all-losses --top 200 > "$tables/$name-k5-mean.txt"
    $show --points 8 --k 10 --reduce min --top 200 > "$tables/$name-k10-min.txt"
    $show --points 4 --k 5 --reduce mean --top 200 > "$tables/$name-default.txt"
    $show --top 60 > "$tables/$name-best.txt"
done
python examples/experiments/ablation.py table "$out/rooms" --points 4 > "$tables/rooms.txt"
for of in "$out"/mnist/mnist-2/*/; do
    name=$(basename "$of")
    case $name in
        *@*) ;;
        *) cp "$(ls "$of"samples/0*.png | tail -n 1)" "$pictures/$name.png" ;;
    esac
done
