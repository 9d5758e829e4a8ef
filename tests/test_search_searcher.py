"""The search as callers see it: its results, its memory and its errors."""

from dataclasses import replace

import pytest
import torch
from searching import ForeignGenerator, random_images

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.losses import l2
from adgan_cli.engine.search.execution import ThreadPerImage
from adgan_cli.engine.search.searcher import Searcher, search
from adgan_cli.errors import ConfigError


def test_the_least_loss_can_be_the_score(generator):
    result = search(generator, random_images(3), replace(PAPER_SEARCH, reduce="min"))
    assert torch.equal(result.score, result.losses.amin(1))


def test_the_reconstruction_is_the_best_points(generator):
    x = random_images(3)
    result = search(generator, x)
    torch.testing.assert_close(l2(x)(result.reconstruction), result.losses.min(1).values)


def test_a_searcher_used_again_scores_the_same(generator):
    """Its memory is used again: theta and moments must start anew for every picture."""
    x, searcher = random_images(4), Searcher(generator)
    first = searcher(x).losses
    searcher(-x)
    assert torch.equal(searcher(x).losses, first)


def test_an_encoder_that_is_not_there_is_an_error(generator):
    with pytest.raises(ConfigError, match="--encoder-iters"):
        search(generator, random_images(1), replace(PAPER_SEARCH, init="both"))


def test_a_foreign_generator_must_bring_its_starting_points():
    with pytest.raises(ConfigError, match="z0"):
        search(ForeignGenerator(), random_images(1))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.9 GB)"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(generator, error):
    x, tried = random_images(6), []

    class Hungry(ThreadPerImage):
        def __call__(self, x):
            tried.append(self.batch_size)
            if self.batch_size > 2:
                raise error
            return super().__call__(x)

    searcher = Searcher(generator, batch_size=8, execution=Hungry)
    assert torch.equal(searcher(x).losses, search(generator, x).losses)
    searcher(x)
    assert tried == [8, 4, 2, 2]  # and it remembers


def test_no_memory_for_one_image_is_an_error_with_a_remedy(generator):
    class Full(ThreadPerImage):
        def __call__(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ConfigError, match="--n-seed"):
        Searcher(generator, batch_size=4, execution=Full)(random_images(1))


def test_other_errors_of_the_generator_are_not_taken_for_memory(generator):
    with pytest.raises(RuntimeError, match="size"):
        search(generator, random_images(1, size=32))
