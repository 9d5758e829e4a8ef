"""How many images are searched for at once: what fits, by what a search of a few needs.

Letters in the shapes: N images, S starting points, Z latent dimensions, (C, H, W) an image.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from adgan_cli.engine.device import free_memory
from adgan_cli.engine.search.execution import PaddedBatches, SearchProblem

MAX_BATCH = 256  # images at once on a GPU; more gains nothing
SHARE = 0.8  # of a GPU's free memory that a search may take
PROBES = (1, 2)  # images that are searched for to measure what each needs
PROBE_STEPS = 2  # of such a search; memory does not grow with more
GRAPH_POOLS = 2  # a captured graph has temporary memory of its own, beside that of eager runs
UNMEASURED_BATCH = 8  # images, on devices that do not say what they have allocated


def default_batch(problem: SearchProblem) -> int:
    """Count the images to search for at once: one a core, or what fits into a GPU's memory.

    On a CUDA device it searches for 1 and for 2 images and measures what they need.
    """
    device = problem.z0.device
    if device.type == "cpu":
        return _one_a_core(problem)
    if device.type != "cuda":
        return UNMEASURED_BATCH
    try:
        memory_need(problem, PROBES[0])  # libraries take workspaces at first, and keep them
        needs = [memory_need(problem, count) for count in PROBES]
    except torch.OutOfMemoryError:
        return 1
    finally:
        torch.cuda.empty_cache()
    return fitting_batch(needs, free_memory(device))


def fitting_batch(needs: Sequence[int], free: int) -> int:
    """Count the images that fit into so many free bytes, from the needs of PROBES: 1 to MAX_BATCH.

    A power of two: scores in batches of different sizes differ in their last digits, and so they do
    not follow each change of the memory that is free.
    """
    (few, more), (least, most) = PROBES, needs
    per_image = max(1.0, (most - least) / (more - few))
    constant = max(0.0, least - few * per_image)
    fitting = min(MAX_BATCH, int((SHARE * free - constant) / per_image))
    return 1 << (max(1, fitting).bit_length() - 1)


def memory_need(problem: SearchProblem, count: int) -> int:
    """Measure the bytes that a CUDA device allocates to search for so many images at once."""
    device, config = problem.z0.device, problem.config
    probe = replace(problem, config=replace(config, k=min(config.k, PROBE_STEPS)))
    x = torch.zeros(count, *image_shape(probe))
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    search = PaddedBatches(probe, count)
    search(x)
    kept = torch.cuda.memory_allocated(device) - before
    peak = torch.cuda.max_memory_allocated(device) - before
    return kept + GRAPH_POOLS * (peak - kept)


def image_shape(problem: SearchProblem) -> torch.Size:
    """Generate the images of one search for their shape, (C, H, W)."""
    bank = problem.make_bank(problem.n_points)
    z = problem.z0.new_zeros(problem.n_points, problem.z0.shape[1])
    return bank.reset(bank.first_forward(z)).shape[1:]


def _one_a_core(problem: SearchProblem) -> int:
    """Count a CPU's cores, or fewer where copies of the weights would not fit beside each other."""
    weights = sum(4 * weight.numel() for weight in problem.generator.parameters())
    copies = 4 if problem.config.moves_theta else 1  # theta, its gradient, two moments
    fitting = free_memory(problem.z0.device) // (copies * max(1, weights))
    return max(1, min(fitting, torch.get_num_threads()))
