"""Labelled images for tests: written to folders, and read as an evaluation reads them."""

from pathlib import Path
from typing import Any

from PIL import Image

from adgan_cli.evaluation.datasets import DataConfig, load_labelled
from adgan_cli.evaluation.datasets.labelled import LabelledDataset
from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.read import Preprocessing
from adgan_cli.images.reader import Reader


def load(
    dataset: str | Path = "",
    *,
    cache: CacheConfig | None = None,
    on_progress: Any = None,
    **data: Any,
) -> LabelledDataset:
    """Read a data set with one worker; data: fields of DataConfig."""
    config = DataConfig(str(dataset), **data)
    reader = Reader(Preprocessing(16, 3), 1, cache)
    return load_labelled(config, reader, on_progress=on_progress)


def fill(folder: Path, count: int, level: int = 0, colour: bool = False) -> Path:
    """Write `count` images of 4 pixels; their grey level tells the class and the number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        value = level + number
        image = Image.new("RGB" if colour else "L", (4, 4), (value, 0, 0) if colour else value)
        image.save(folder / f"{number:02}.png")
    return folder


def everything_below(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
