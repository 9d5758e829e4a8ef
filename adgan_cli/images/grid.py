"""Many small pictures on one sheet: the samples of a generator, or real pictures beside them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from adgan_cli.atomic import replacing

_GAP = 2  # pixels between pictures


def write_grid(path: Path, pictures: np.ndarray, *, columns: int = 8) -> None:
    """Write uint8 pictures (N, S, S, 1 or 3), N at least 1, as rows of a PNG on white."""
    number, side, _, channels = pictures.shape
    columns = min(columns, number)
    step = side + _GAP
    sheet = np.full((-(-number // columns) * step - _GAP, columns * step - _GAP, channels), 255)
    sheet = sheet.astype(np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * step, index % columns * step
        sheet[top : top + side, left : left + side] = picture
    buffer = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(buffer, "png")
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
