"""A model directory: kept whole while training goes on, refused when it is somebody else's."""

import csv
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from adgan_cli.atomic import sweep, write_text, writing
from adgan_cli.engine.models.dcgan import Generator
from adgan_cli.engine.models.files import CONFIG_FILE
from adgan_cli.engine.models.header import CHECKPOINT_FILE, MODEL_FILE, read_header
from adgan_cli.engine.models.neighbours import NEIGHBOURS_FILE, write_neighbours
from adgan_cli.engine.pixels import to_uint8
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.training.trainer import StepMetrics
from adgan_cli.errors import ConfigError, ModelFileError, OutputError
from adgan_cli.fitting.transform_checkpoint import TRANSFORMATIONS, TRANSFORMATIONS_FILE
from adgan_cli.images.encode import write_grid
from adgan_cli.images.pixels import PixelSet
from adgan_cli.locks import LOCK_FILE

HISTORY_FILE = "history.csv"
HISTORY_HEADER = "step,distance,generator_loss,seconds,held_out\n"
# the last cell is empty where no images held out were looked at
_ROW = re.compile(r"(?P<step>\d+),[^,]*,[^,]*,(?P<seconds>\d+(\.\d+)?),[^,]*")
SAMPLES_FOLDER = "samples"
SAMPLES = 64  # images on a grid
OUR_FILES = MODEL_FILE, CHECKPOINT_FILE, NEIGHBOURS_FILE, TRANSFORMATIONS_FILE


def check_output_dir(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a model directory that holds something, unless --resume or --overwrite allow it."""
    if out.is_file():
        raise ConfigError(f"-o {out} is a file; give a folder for the model")
    try:
        taken = out.is_dir() and any(entry.name != LOCK_FILE for entry in out.iterdir())
    except OSError as error:
        raise OutputError(f"cannot read {out}: {error.strerror}; choose another -o") from error
    if taken and not (resume or overwrite):
        raise ConfigError(
            f"{out} is not empty; use --resume to go on with it, --overwrite to start anew, "
            "or another -o"
        )
    if taken and overwrite and not _is_ours(out):
        # its samples/ or config.json would be somebody else's
        raise ConfigError(f"{out} holds no model to overwrite but other files; use another -o")
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise ConfigError(f"-o {out}: {there} is a file; give a folder for the model")
    if not os.access(there, os.W_OK):
        raise OutputError(f"cannot write to {there}, read-only or not yours; choose another -o")


def prepare_output_dir(
    out: Path,
    images: PixelSet,
    *,
    clear: bool,
    keep_neighbours: bool = True,
    references: np.ndarray | None = None,
) -> None:
    """Write a grid of real images and the neighbours; clear: remove an earlier run's files.

    references: indices of the images whose features are kept, see write_neighbours.
    """
    if clear:
        _clear(out)
    for name in OUR_FILES:
        sweep(out / name)  # kill -9 while saving leaves as many bytes behind
    # drawn: a set is often sorted by folder, and neighbours are relatives
    drawn = np.random.default_rng(0).permutation(len(images))[:SAMPLES]
    write_grid(out / SAMPLES_FOLDER / "real.png", images.take(np.sort(drawn)))
    if keep_neighbours:
        write_neighbours(out, images, references)


class History:
    """The open history.csv of a run; `seconds` counts those of the calls before this one too."""

    def __init__(self, file: TextIO, seconds: float) -> None:
        self.seconds = seconds
        self._writer = csv.writer(file, lineterminator="\n")

    def add(self, metrics: StepMetrics, seconds: float) -> None:
        """Write a row, at so many seconds of this call."""
        held_out = "" if metrics.held_out is None else metrics.held_out
        so_far = round(self.seconds + seconds, 3)
        self._writer.writerow(
            [metrics.step, metrics.distance, metrics.generator_loss, so_far, held_out]
        )


@contextmanager
def open_history(out: Path, step: int) -> Iterator[History]:
    """Open history.csv with the rows up to `step`, to add to it within the block."""
    path, seconds = _cut_history(out, step)
    with writing(path), open(path, "a", encoding="utf-8", newline="", buffering=1) as file:
        yield History(file, seconds)


def seconds_spent(out: Path) -> float:
    """Look up how many seconds of training history.csv counts; 0 without one."""
    return max((float(row["seconds"]) for row in _history_rows(out)), default=0.0)


def write_samples(out: Path, generator: Generator, step: int) -> None:
    """Write a grid of generated images, always of the same latent vectors."""
    z = starting_points(SAMPLES, generator.config.latent_dim, seed=0).to(generator.device)
    with torch.no_grad():
        write_grid(out / SAMPLES_FOLDER / f"{step:06d}.png", to_uint8(generator(z)))


def _cut_history(out: Path, step: int) -> tuple[Path, float]:
    """Write history.csv anew with the rows up to `step`; return it and the seconds they took."""
    # kill -9 may have come after rows that the checkpoint does not have
    rows = [row for row in _history_rows(out) if int(row["step"]) <= step]
    path = out / HISTORY_FILE
    write_text(path, HISTORY_HEADER + "".join(f"{row[0]}\n" for row in rows))
    return path, float(rows[-1]["seconds"]) if rows else 0.0


def _history_rows(out: Path) -> list[re.Match[str]]:
    """Match the whole rows of history.csv: kill -9 may have come amid one."""
    path = out / HISTORY_FILE
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return [row for row in map(_ROW.fullmatch, text.split("\n")[:-1]) if row]


def _is_ours(out: Path) -> bool:
    """Decide whether a run of ours, if only one that was killed early, left its files in `out`."""
    kinds = {
        CHECKPOINT_FILE: "checkpoint",
        MODEL_FILE: "model",
        TRANSFORMATIONS_FILE: TRANSFORMATIONS,
    }
    for name, kind in kinds.items():
        with suppress(ModelFileError):
            read_header(out / name, kind)
            return True
    with suppress(OSError, UnicodeDecodeError):
        return (out / HISTORY_FILE).read_text(encoding="utf-8").startswith("step,")
    return False


def _clear(out: Path) -> None:
    """Remove what an earlier run left in `out`, and nothing else."""
    for name in (*OUR_FILES, CONFIG_FILE, HISTORY_FILE):
        (out / name).unlink(missing_ok=True)
    for grid in (out / SAMPLES_FOLDER).glob("*.png"):
        if grid.stem == "real" or grid.stem.isdecimal():
            grid.unlink()
