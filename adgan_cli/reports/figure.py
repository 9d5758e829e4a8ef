"""Figure 3 of the paper: rows of the most anomalous images, then rows of the least."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from adgan_cli.atomic import replacing

FONT = "DejaVu Sans"  # comes with matplotlib: the same figure on every machine
TEXT_COLOUR = "#333333"
_DPI = 160
# pixels
_CELL = 128
_SPACE = 4  # between images
_MARGIN = 24
_LABEL = 36  # height of a label above its rows
_GAP = 40  # between the most and the least anomalous
_MIN_WIDTH = 256  # room for the labels when there is one column
_PIXELATED = 64  # originals up to this size keep their pixels visible


class PixelFigure:
    """A matplotlib figure measured in pixels, from its upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")

    def text(self, x: float, y: float, words: str, **more: Any) -> None:
        """Write words as they are, on one line."""
        style = {"fontsize": 7, "color": TEXT_COLOUR, "family": FONT, "parse_math": False}
        self.figure.text(x / self.width, 1 - y / self.height, words, **{**style, **more})

    def axes(self, x: float, y: float, width: float, height: float) -> Any:
        """Make room for a chart or an image."""
        left, bottom = x / self.width, 1 - (y + height) / self.height
        return self.figure.add_axes((left, bottom, width / self.width, height / self.height))

    def image(self, pixels: np.ndarray, x: float, y: float, side: float) -> None:
        """Draw an image (S, S, 1 or 3) uint8, its pixels visible, as a square."""
        axes = self.axes(x, y, side, side)
        rgb = pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels
        axes.imshow(rgb, interpolation="nearest")
        axes.set_axis_off()

    def paste(self, pixels: np.ndarray, x: int, y: int) -> None:
        """Copy an image (H, W, 3) uint8 pixel by pixel."""
        bottom = self.height - y - pixels.shape[0]
        self.figure.figimage(pixels, xo=x, yo=bottom, origin="upper")

    def save(self, path: Path) -> None:
        """Draw it as a PNG; equal figures give equal bytes."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas: Any = FigureCanvasAgg(self.figure)  # matplotlib leaves print_png untyped
        with replacing(path) as temporary, open(temporary, "wb") as stream:
            canvas.print_png(stream, metadata={"Software": None})


def write_figure(
    path: Path, most: Sequence[bytes], least: Sequence[bytes], *, columns: int = 10
) -> None:
    """Draw two groups of JPEG or PNG thumbnails, cropped to their central square, as a PNG."""
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    groups = [("most anomalous", most), ("least anomalous", least)]
    blocks = [(label, _mosaic(group, columns)) for label, group in groups if group]
    if not blocks:
        raise ValueError("a figure needs at least one picture")

    width = max(_MIN_WIDTH, *(block.shape[1] for _, block in blocks)) + 2 * _MARGIN
    height = sum(_LABEL + block.shape[0] for _, block in blocks)
    height += _GAP * (len(blocks) - 1) + 2 * _MARGIN
    figure = PixelFigure(width, height)
    y = _MARGIN
    for label, block in blocks:
        figure.text(_MARGIN, y + _LABEL / 3, label, fontsize=9, va="center")
        figure.paste(block, _MARGIN, y + _LABEL)
        y += _LABEL + block.shape[0] + _GAP
    figure.save(path)


def _mosaic(thumbnails: Sequence[bytes], columns: int) -> np.ndarray:
    """Lay images out row by row on white: (H, W, 3) uint8."""
    columns = min(columns, len(thumbnails))
    rows = -(-len(thumbnails) // columns)
    step = _CELL + _SPACE
    mosaic = np.full((rows * step - _SPACE, columns * step - _SPACE, 3), 255, dtype=np.uint8)
    for index, thumbnail in enumerate(thumbnails):
        y, x = index // columns * step, index % columns * step
        mosaic[y : y + _CELL, x : x + _CELL] = _square(thumbnail)
    return mosaic


def _square(thumbnail: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(thumbnail)) as image:
        small = max(image.size) <= _PIXELATED
        method = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
        return np.asarray(ImageOps.fit(image.convert("RGB"), (_CELL, _CELL), method))
