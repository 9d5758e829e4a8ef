"""Bring the small images of a published set to another size and number of channels."""

from dataclasses import replace

import numpy as np

from adgan_cli.evaluation.datasets.labelled import LabelledDataset, Split


def adapt(labelled: LabelledDataset, size: int | None, channels: int | None) -> LabelledDataset:
    """Adapt a set's images, and note what was done.

    size: 16, 32, 64, ... pixels; None is the set's own, padded or enlarged to the next of these.
    28 pixels become 32 with two of black on every side. From there by whole factors: enlarged
    without smoothing, reduced by averaging.
    """
    _, side, _, own_channels = labelled.train.pixels.shape
    padded = 32 if side == 28 else side
    new_size = max(16, padded) if size is None else size
    new_channels = own_channels if channels is None else channels
    notes = [labelled.note] if labelled.note else []
    if padded != side:
        notes.append(f"padded from {side} to {padded} pixels")
    if new_size != padded:
        change = "enlarged" if new_size > padded else "reduced"
        notes.append(f"{change} from {padded} to {new_size} pixels")
    if new_channels != own_channels:
        notes.append("grey" if new_channels == 1 else "grey repeated in 3 channels")

    def adapted(split: Split) -> Split:
        edge = (padded - side) // 2
        pixels = np.pad(split.pixels, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        return replace(split, pixels=_in_channels(_resized(pixels, new_size), new_channels))

    train, test = adapted(labelled.train), adapted(labelled.test)
    return replace(labelled, train=train, test=test, note="; ".join(notes))


def _resized(pixels: np.ndarray, size: int) -> np.ndarray:
    count, side, _, channels = pixels.shape
    if size >= side:
        return pixels.repeat(size // side, axis=1).repeat(size // side, axis=2)
    factor = side // size
    blocks = pixels.reshape(count, size, factor, size, factor, channels)
    area = factor * factor
    means: np.ndarray = (blocks.sum(axis=(2, 4), dtype=np.uint32) + area // 2) // area
    return means.astype(np.uint8)


def _in_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if channels == pixels.shape[3]:
        return pixels
    if channels == 3:
        return pixels.repeat(3, axis=3)
    # ITU-R 601 in fixed point, as Pillow makes L of RGB
    red, green, blue = (pixels[..., i : i + 1].astype(np.uint32) for i in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 2**15) >> 16).astype(np.uint8)
