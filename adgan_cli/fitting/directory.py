"""A model directory: kept whole while training goes on, refused when it is somebody else's."""

import copy
import csv
import math
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adgan_cli import __version__
from adgan_cli.atomic import sweep, write_text, writing
from adgan_cli.config import ReadConfig, SearchConfig, to_dict
from adgan_cli.engine.device import free_memory
from adgan_cli.engine.models.dcgan import Critic, Encoder, Generator, mean_encoder
from adgan_cli.engine.models.files import CONFIG_FILE, save_model
from adgan_cli.engine.models.header import CHECKPOINT_FILE, MODEL_FILE, read_header
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.models.neighbours import NEIGHBOURS_FILE, write_neighbours
from adgan_cli.engine.pixels import pixel_tensor, to_uint8
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.training.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from adgan_cli.engine.training.encoder import train_encoder
from adgan_cli.engine.training.trainer import StepMetrics, TrainState, ema_generator, run
from adgan_cli.errors import ConfigError, DivergedError, ModelFileError, OutputError
from adgan_cli.fitting.held_out import hold_out
from adgan_cli.images.encode import write_grid
from adgan_cli.images.pixels import PixelSet
from adgan_cli.processes import SINGLE, Processes

HISTORY_FILE = "history.csv"
HISTORY_HEADER = "step,distance,generator_loss,seconds,held_out\n"
# the last cell only where pictures held out were looked at; adgan 0.3 had none
_ROW = re.compile(r"(?P<row>(?P<step>\d+),[^,]*,[^,]*,(?P<seconds>\d+(\.\d+)?))(?P<held>,[^,]*)?")
SAMPLES_FOLDER = "samples"
SAMPLES = 64  # pictures on a grid
SAVE_EVERY = 120.0  # seconds


def check_output_dir(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a model directory that holds something, unless --resume or --overwrite allow it.

    Raises ConfigError, or OutputError where nothing can be written. Makes nothing yet.
    """
    if out.is_file():
        raise ConfigError(f"-o {out} is a file; give a folder for the model")
    try:
        taken = out.is_dir() and any(out.iterdir())
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
    if not os.access(there, os.W_OK):
        raise OutputError(f"cannot write to {there}, read-only or not yours; choose another -o")


def resume_state(
    out: Path,
    pictures: PixelSet,
    device: torch.device,
    *,
    iters: int | None,
    encoder_iters: int | None = None,
) -> tuple[TrainState, PixelSet, PixelSet]:
    """The run that `out` holds, ready to go on, the pictures it trains on and those it does not.

    Raises ModelFileError for a missing or damaged checkpoint, ConfigError for other pictures.
    """
    state = load_checkpoint(out, device, iters=iters, encoder_iters=encoder_iters)
    trained, held_out = hold_out(pictures, state.train_config)
    then, now = read_checkpoint(out)["data"], data_provenance(trained)
    if any(then[key] != now[key] for key in ("pictures", "digest")):
        raise ConfigError(
            f"{out} was trained on other pictures ({then['pictures']} then, {now['pictures']} now, "
            "or changed); --resume continues exactly: restore them, or start anew with --overwrite"
        )
    return state, trained, held_out


def train_into(
    out: Path,
    state: TrainState,
    pictures: PixelSet,
    *,
    held_out: PixelSet | None = None,
    reading: ReadConfig = ReadConfig(),  # noqa: B008  frozen
    on_step: Callable[[StepMetrics], None] | None = None,
    on_save: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    save_every: float = SAVE_EVERY,
    resumed: bool = False,
    keep_critic: bool = False,
    search: SearchConfig = SearchConfig(),  # noqa: B008  frozen
    keep_neighbours: bool = True,
    processes: Processes = SINGLE,
) -> Model:
    """Train `state` on the pictures and keep the model directory `out`.

    Every `save_every` seconds, and when it ends or is stopped: model.safetensors, a checkpoint,
    a grid of samples; once, the neighbours. After kill -9 all of them are whole. A diverged run
    leaves them alone. A run that begins removes what an earlier one left, unless it was saved at
    step 0 and `resumed`. Of several processes this one is the first, and the others do
    `train_worker`.
    """
    if state.step == 0 and state.critic_step == 0 and not resumed:
        _clear(out)
    for name in (MODEL_FILE, CHECKPOINT_FILE, NEIGHBOURS_FILE):
        sweep(out / name)  # kill -9 while saving leaves as many bytes behind
    pixels, rows = on_training_device(pictures, state.device)
    some = pictures.take(slice(None, None, _stride(pictures)))
    write_grid(out / SAMPLES_FOLDER / "real.png", some[:SAMPLES])
    if keep_neighbours:
        write_neighbours(out, pictures)
    saved_at, saved_step = time.monotonic(), state.step

    def save() -> Model:
        nonlocal saved_at, saved_step
        model = trained_model(state, pictures, reading, keep_critic=keep_critic, search=search)
        digest = save_model(model, out)
        save_checkpoint(state, out, data_provenance(pictures) | {"reading": to_dict(reading)})
        _write_samples(out / SAMPLES_FOLDER / f"{state.step:06d}.png", model.generator)
        saved_at, saved_step = time.monotonic(), state.step
        if on_save:
            on_save(state.step)
        return replace(model, digest=digest, file=out / MODEL_FILE)

    path, spent = _history(out, state.step)
    with writing(path), open(path, "a", encoding="utf-8", newline="", buffering=1) as file:
        history = csv.writer(file, lineterminator="\n")

        def stepped(told: StepMetrics) -> None:
            seconds = round(spent + told.seconds, 3)
            held = "" if told.held_out is None else told.held_out
            history.writerow([told.step, told.distance, told.generator_loss, seconds, held])
            if on_step:
                on_step(told)
            if time.monotonic() - saved_at >= save_every:
                save()

        try:
            run(
                state, pixels, rows=rows,
                held_out=None if held_out is None else pixel_tensor(held_out),
                on_step=stepped, should_stop=should_stop, processes=processes,
            )  # fmt: skip
            return save()
        except DivergedError as error:
            kept = (
                f"the model of step {saved_step} is kept in {out}"
                if (out / MODEL_FILE).exists()
                else "no model was saved yet"
            )
            raise DivergedError(f"{error}; {kept}") from error


def train_worker(
    state: TrainState,
    pictures: PixelSet,
    processes: Processes,
    *,
    held_out: PixelSet,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """What `train_into` does, but for what only one process must: write."""
    pixels, rows = on_training_device(pictures, state.device)
    run(
        state, pixels, rows=rows, held_out=pixel_tensor(held_out), should_stop=should_stop,
        processes=processes,
    )  # fmt: skip


def with_encoder(
    model: Model,
    pictures: PixelSet,
    iters: int,
    *,
    out: Path | None = None,
    on_step: Callable[[int, float], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Model:
    """The model with an encoder trained for it, kept in `out` too if that is given.

    Stopped before the end, the model is returned, and left, as it was; also where `iters` is 0 or
    its objective brought an encoder along.
    """
    if iters == 0 or model.encoder is not None:
        return model
    device = model.generator.first.weight.device
    pixels, rows = on_training_device(pictures, device)
    done = 0

    def stepped(step: int, loss: float) -> None:
        nonlocal done
        done = step
        if on_step:
            on_step(step, loss)

    encoder = train_encoder(
        model.generator, pixels, iters, rows=rows, on_step=stepped, should_stop=should_stop
    )
    if done < iters:
        return model
    made = {"encoder": {"iters": iters}}
    model = replace(model, encoder=encoder, provenance={**model.provenance, **made})
    return model if out is None else replace(model, digest=save_model(model, out))


def trained_model(
    state: TrainState,
    pictures: PixelSet,
    reading: ReadConfig = ReadConfig(),  # noqa: B008  frozen
    *,
    keep_critic: bool = False,
    search: SearchConfig = SearchConfig(),  # noqa: B008  frozen
) -> Model:
    """The model that `state` amounts to so far. Raises DivergedError if it is not finite."""
    generator = ema_generator(state)
    if not all(weight.isfinite().all() for weight in generator.state_dict().values()):
        raise DivergedError(f"training diverged by step {state.step}: weights are not numbers; "
                            "try --precision fp32 or another --seed")  # fmt: skip
    provenance = {
        "adgan": __version__,
        # not `iters`, where training was meant to end, but where it did
        "training": {**to_dict(state.train_config), "iters": state.step}
        | {"precision": state.precision},
        "data": data_provenance(pictures),
    }
    return Model(
        generator,
        state.model_config,
        search=search,
        reading=reading,
        ranges=pictures.ranges,
        training_fingerprints=np.sort(pictures.fingerprints),
        critic=_kept_critic(state) if keep_critic else None,
        encoder=_own_encoder(state),
        provenance=provenance,
    )


def _kept_critic(state: TrainState) -> Critic | None:
    critic = copy.deepcopy(state.critic).eval().requires_grad_(False)
    return critic if isinstance(critic, Critic) else None


def _own_encoder(state: TrainState) -> Encoder | None:
    """The encoder that was learned with the generator, where the objective has one."""
    if not isinstance(state.critic, Encoder):
        return None
    encoder = mean_encoder(state.critic, state.model_config)
    if not all(weight.isfinite().all() for weight in encoder.state_dict().values()):
        raise DivergedError(f"training diverged by step {state.step}: the encoder is not finite")
    return encoder


def on_training_device(
    pictures: PixelSet, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The pixels where sampling them is fastest, and the rows, for `run`.

    On the device, if a third of it holds them; else where they are, a map of the cache included.
    """
    shape = len(pictures), *pictures.pixels.shape[1:]
    if device.type == "cuda" and 3 * math.prod(shape) < free_memory(device):
        pixels = torch.empty(shape, dtype=torch.uint8, device=device)
        for start in range(0, len(pictures), 4096):  # a set may be larger than memory
            part = pictures.take(slice(start, start + 4096))
            pixels[start : start + len(part)] = torch.from_numpy(np.ascontiguousarray(part))
        return pixels, None
    rows = None if pictures.indices is None else torch.from_numpy(pictures.indices)
    return torch.from_numpy(pictures.pixels), rows


def data_provenance(pictures: PixelSet) -> dict[str, Any]:
    """What a model says of the pictures it was trained on: how many, and their digest."""
    return {"pictures": len(pictures), "digest": pictures.digest}


def _history(out: Path, step: int) -> tuple[Path, float]:
    """history.csv with what was done up to `step`, to be added to, and the seconds it took."""
    path = out / HISTORY_FILE
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    # kill -9 may have come after rows that the checkpoint does not know, or amid one
    rows = [match for match in map(_ROW.fullmatch, text.split("\n")[:-1]) if match]
    whole = [row for row in rows if int(row["step"]) <= step]
    lines = (f"{row['row']}{row['held'] or ','}\n" for row in whole)
    write_text(path, HISTORY_HEADER + "".join(lines))
    return path, float(whole[-1]["seconds"]) if whole else 0.0


def _write_samples(path: Path, generator: Generator) -> None:
    device = generator.first.weight.device
    z = starting_points(SAMPLES, generator.config.latent_dim, seed=0).to(device)
    with torch.no_grad():
        write_grid(path, to_uint8(generator(z)))


def _stride(pictures: PixelSet) -> int:
    # over the whole set, which may be sorted by folder
    return max(1, math.ceil(len(pictures) / SAMPLES))


def _is_ours(out: Path) -> bool:
    """Tell whether a run of ours, if only one that was killed early, left its files in `out`."""
    for name, kind in ((CHECKPOINT_FILE, "checkpoint"), (MODEL_FILE, "model")):
        with suppress(ModelFileError):
            read_header(out / name, kind)
            return True
    with suppress(OSError, UnicodeDecodeError):
        return (out / HISTORY_FILE).read_text(encoding="utf-8").startswith("step,")
    return False


def _clear(out: Path) -> None:
    """Remove what an earlier run left in `out`, and nothing else."""
    for name in (MODEL_FILE, CONFIG_FILE, CHECKPOINT_FILE, HISTORY_FILE, NEIGHBOURS_FILE):
        (out / name).unlink(missing_ok=True)
    for grid in (out / SAMPLES_FOLDER).glob("*.png"):
        if grid.stem == "real" or grid.stem.isdecimal():
            grid.unlink()
