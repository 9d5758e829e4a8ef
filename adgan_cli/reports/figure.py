"""Figure 3 of the paper: rows of the most anomalous pictures, then rows of the least."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from adgan_cli.atomic import replacing

# pixels
_CELL = 128
_SPACE = 4  # between pictures
_MARGIN = 24
_LABEL = 36  # height of a label above its rows
_GAP = 40  # between the most and the least anomalous
_LEAST_WIDTH = 256  # room for the labels when there is one column
_DPI = 160
_SMALL = 64  # originals up to this size keep their pixels visible


def write_figure(
    path: Path, most: Sequence[bytes], least: Sequence[bytes], *, columns: int = 10
) -> None:
    """Draw two groups of JPEG or PNG thumbnails, cropped to their central square, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    groups = [("most anomalous", most), ("least anomalous", least)]
    blocks = [(label, _mosaic(group, columns)) for label, group in groups if group]
    if not blocks:
        raise ValueError("a figure needs at least one picture")

    width = max(_LEAST_WIDTH, *(block.shape[1] for _, block in blocks)) + 2 * _MARGIN
    height = sum(_LABEL + block.shape[0] for _, block in blocks)
    height += _GAP * (len(blocks) - 1) + 2 * _MARGIN
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    top = height - _MARGIN  # y grows upwards
    for label, block in blocks:
        _write_label(figure, label, x=_MARGIN / width, y=(top - _LABEL / 3) / height)
        figure.figimage(block, xo=_MARGIN, yo=top - _LABEL - block.shape[0], origin="upper")
        top -= _LABEL + block.shape[0] + _GAP

    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves print_png untyped
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        canvas.print_png(stream, metadata={"Software": None})  # equal pictures, equal bytes


def _write_label(figure: Any, label: str, *, x: float, y: float) -> None:
    # the font that comes with matplotlib: the same picture on every machine
    figure.text(x, y, label, fontsize=9, color="#333333", va="center", family="DejaVu Sans")


def _mosaic(pictures: Sequence[bytes], columns: int) -> np.ndarray:
    """Lay pictures out row by row on white  →  (H, W, 3) uint8."""
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    step = _CELL + _SPACE
    page = np.full((rows * step - _SPACE, columns * step - _SPACE, 3), 255, dtype=np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * step, i % columns * step
        page[y : y + _CELL, x : x + _CELL] = _square(picture)
    return page


def _square(thumbnail: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(thumbnail)) as picture:
        small = max(picture.size) <= _SMALL
        method = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
        return np.asarray(ImageOps.fit(picture.convert("RGB"), (_CELL, _CELL), method))
