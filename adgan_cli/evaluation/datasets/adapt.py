"""Bring the small images of a published set to another size."""

from dataclasses import replace

import numpy as np

from adgan_cli.evaluation.datasets.labelled import LabelledDataset, Split


def adapt(labelled: LabelledDataset, size: int | None) -> LabelledDataset:
    """Adapt a set's images, and note what was done.

    size: 16, 32, 64, ... pixels; None is the set's own, padded or enlarged to the next of these.
    28 pixels become 32 with two of black on every side. From there by whole factors: enlarged
    without smoothing, reduced by averaging.
    """
    side = labelled.train.pixels.shape[1]
    padded = 32 if side == 28 else side
    new_size = max(16, padded) if size is None else size
    notes = [labelled.note] if labelled.note else []
    if padded != side:
        notes.append(f"padded from {side} to {padded} pixels")
    if new_size != padded:
        change = "enlarged" if new_size > padded else "reduced"
        notes.append(f"{change} from {padded} to {new_size} pixels")

    def adapted(split: Split) -> Split:
        edge = (padded - side) // 2
        pixels = np.pad(split.pixels, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        return replace(split, pixels=_resized(pixels, new_size))

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
