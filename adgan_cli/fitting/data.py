"""The images of a training run: loaded, split, and laid where sampling them is fastest."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from adgan_cli.config import TrainConfig
from adgan_cli.engine.device import free_memory
from adgan_cli.engine.pixels import pixel_tensor
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.errors import ImageError, NoImagesError
from adgan_cli.images.find import Listing
from adgan_cli.images.pixels import PixelSet, load_pixels
from adgan_cli.images.reader import Reader
from adgan_cli.images.variety import lack_of_variety
from adgan_cli.scoring.calibrate import ImagesToScore
from adgan_cli.scoring.calibration import MAX_HELD_OUT

ReadLarge = Callable[[Sequence[str]], np.ndarray]  # names (n,) -> uint8 (n, L, L, C)


def load_training_images(
    listing: Listing,
    reader: Reader,
    *,
    detect_grey: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> PixelSet:
    """Decode the images of a listing; NoImagesError where there is none, or nothing to learn."""
    images = load_pixels(listing, reader, detect_grey=detect_grey, on_progress=on_progress)
    if not images.names:
        name, reason = images.failures[0]
        raise NoImagesError(
            f"no usable picture in {listing.root}: all {len(images.failures)} failed, "
            f"the first is {name}: {reason}"
        )
    lack = lack_of_variety(images)
    if lack is not None:
        raise NoImagesError(f"nothing to learn from {listing.root}: {lack}")
    return images


def hold_out(images: PixelSet, config: TrainConfig) -> tuple[PixelSet, PixelSet]:
    """Split a set into what is trained on and the share that `config` holds out.

    The choice depends on the contents of the files and the seed, not on names or order. At most
    2,000 are held out, and none where that would be a single one. Of copies of a file that is held
    out only the first is used, and none is trained on: p-values count it once.
    """
    count = len(images)
    contents = images.fingerprints if len(images.fingerprints) else np.arange(count)
    distinct, first, index = np.unique(contents, return_index=True, return_inverse=True)
    n_held_out = min(MAX_HELD_OUT, round(config.holdout * len(distinct)))
    if n_held_out < 2:
        n_held_out = 0
    order = np.random.default_rng(config.seed).permutation(len(distinct))
    is_held_out = order[index] < n_held_out
    is_first = np.zeros(count, bool)
    is_first[first] = True
    return images.subset(~is_held_out), images.subset(is_held_out & is_first)


def training_data(
    images: PixelSet, held_out: PixelSet | None, device: torch.device
) -> TrainingData:
    """Lay the images where sampling them is fastest.

    On the device, if a third of it holds them; else where they are, a map of the cache included.
    """
    kept = None if held_out is None else pixel_tensor(held_out)
    shape = len(images), *images.pixels.shape[1:]
    if device.type == "cuda" and 3 * math.prod(shape) < free_memory(device):
        pixels = torch.empty(shape, dtype=torch.uint8, device=device)
        for start in range(0, len(images), 4096):  # a set may be larger than memory
            part = images.take(slice(start, start + 4096))
            pixels[start : start + len(part)] = torch.from_numpy(np.ascontiguousarray(part))
        return TrainingData(pixels, held_out=kept)
    indices = None if images.indices is None else torch.from_numpy(images.indices)
    return TrainingData(torch.from_numpy(images.pixels), indices, kept)


def large_reader(listing: Listing, reader: Reader, images: PixelSet, size: int) -> ReadLarge:
    """Return what reads images of a listing again, by their names, `size` pixels a side.

    images: the set that was read of it, whose channels and ranges hold again. What it returns
    raises NoImagesError for an image that cannot be read any more.
    """
    items = {item.name: item for item in listing.items}
    _, _, _, channels = images.pixels.shape
    preprocessing = replace(
        reader.preprocessing, size=size, channels=channels, ranges=images.ranges
    )

    def read(names: Sequence[str]) -> np.ndarray:
        pixels = np.empty((len(names), size, size, channels), np.uint8)
        chosen, again = [items[name] for name in names], reader.with_preprocessing(preprocessing)
        reading = again.read(chosen, listing.root, expected=len(chosen))
        for index, (item, image) in enumerate(reading):
            if isinstance(image, ImageError):
                raise NoImagesError(f"{item.name} cannot be read again ({image}); start anew")
            pixels[index] = image.pixels
        return pixels

    return read


def images_to_score(held_out: PixelSet, read: ReadLarge | None) -> ImagesToScore:
    """Gather the images held out, and the same at a backbone's size where there is one."""
    pixels = np.ascontiguousarray(held_out.take(slice(None)))
    return ImagesToScore(pixels, None if read is None else read(held_out.names))


def data_provenance(images: PixelSet) -> dict[str, Any]:
    """Describe the images that a model was trained on: how many, and their digest."""
    return {"pictures": len(images), "digest": images.digest}
