"""Write pixels as image files."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from adgan_cli.atomic import replacing

_GAP = 2  # pixels between the images of a grid


def image_bytes(image: Image.Image, format: str, **options: int) -> bytes:
    """Encode an image as a file; options are those of Pillow's encoder for the format."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def from_pixels(pixels: np.ndarray) -> Image.Image:
    """Make an L or RGB image of pixels (H, W, 1 or 3) uint8."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def write_grid(path: Path, images: np.ndarray, *, columns: int = 8) -> None:
    """Write uint8 images (N, S, S, 1 or 3), N at least 1, as rows of a PNG on white."""
    number, side, _, channels = images.shape
    columns = min(columns, number)
    step = side + _GAP
    sheet = np.full((-(-number // columns) * step - _GAP, columns * step - _GAP, channels), 255)
    sheet = sheet.astype(np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * step, index % columns * step
        sheet[top : top + side, left : left + side] = image
    with replacing(path) as temporary:
        temporary.write_bytes(image_bytes(from_pixels(sheet), "PNG"))
