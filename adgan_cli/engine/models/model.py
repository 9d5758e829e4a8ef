"""A trained model as one safetensors file: the generator, and in its header how it came to be."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from adgan_cli.atomic import replacing, write_text
from adgan_cli.config import PAPER_SEARCH, ModelConfig, ReadConfig, SearchConfig, from_dict, to_dict
from adgan_cli.engine.models.dcgan import Critic, Encoder, Generator
from adgan_cli.engine.models.header import TRAINING_FINGERPRINTS, metadata, model_path, read_header
from adgan_cli.errors import ConfigError, ModelFileError
from adgan_cli.images.depth import ranges_dict, ranges_from
from adgan_cli.images.read import Preprocessing, Ranges
from adgan_cli.images.statistics import STATISTICS

CONFIG_FILE = "config.json"
PROVENANCE = "training", "data", "adgan", "encoder", "imported", "verdict"  # how a model was made
CRITIC, ENCODER = "critic/", "encoder/"  # before the names of their tensors
CALIBRATION, TRAITS_OF = "calibration/", ".traits"  # before and behind the number of one


@dataclass(frozen=True, eq=False)
class Calibration:
    """What pictures that were not trained on score with one way of searching, and how they look."""

    search: SearchConfig  # adjust is none: what is taken out of the scores is found from these
    scores: np.ndarray  # (N,) float64
    statistics: np.ndarray  # (N, T) float64, image_statistics of the same pictures


@dataclass(frozen=True)
class Model:
    """A generator with what is needed to score with it."""

    generator: Generator  # (N, Z) -> (N, C, S, S) in [-1, 1]; eval mode, no gradients
    config: ModelConfig
    search: SearchConfig = PAPER_SEARCH  # its own settings; see usable
    provenance: Mapping[str, Any] = field(default_factory=dict)  # how it was trained, plain JSON
    digest: str = ""  # of the file it was loaded from
    reading: ReadConfig = ReadConfig()  # how pictures became squares in training
    ranges: Ranges = ()  # black and white of pictures deeper than 8 bits, from the training set
    training_fingerprints: np.ndarray | None = (
        None  # (N,) uint64, sorted: fingerprints of the training pictures
    )
    critic: Critic | None = None  # that the generator was trained against, where it was kept
    encoder: Encoder | None = None  # an approximate inverse of the generator, if one was trained
    calibrations: tuple[Calibration, ...] = ()  # one for each way of searching that has one
    file: Path | None = None  # it was loaded from or saved to; small copies may lie beside it

    def preprocessing(self) -> Preprocessing:
        """How a picture has to be read for this generator."""
        reading = self.reading
        return Preprocessing(
            self.config.size, self.config.channels, reading.fit, reading.alpha, self.ranges
        )

    def default_search(self, search: SearchConfig | None = None) -> SearchConfig:
        """The settings that `score` and `rank` start from: its own, or those of a preset.

        Without an encoder, as long as training has not got there, from the prior alone.
        """
        search = search or self.search
        return search if self.encoder is not None else replace(search, init="prior")

    def calibration(self, search: SearchConfig) -> Calibration | None:
        """What pictures not trained on score with these settings, before any adjustment."""
        plain = replace(search, adjust="none")
        return next((c for c in self.calibrations if c.search == plain), None)

    def was_trained_on(self, fingerprint: bytes) -> bool | None:
        """Tell whether a file with this content was trained on; None where the model cannot say."""
        if self.training_fingerprints is None:
            return None
        wanted = np.frombuffer(fingerprint, "<u8")[0]
        place = np.searchsorted(self.training_fingerprints, wanted)
        return bool(
            place < len(self.training_fingerprints) and self.training_fingerprints[place] == wanted
        )


def save_model(model: Model, path: str | Path) -> str:
    """Write model.safetensors and config.json into the folder `path`; return the digest.

    A path that ends in .safetensors gets the one file only. Equal models give equal bytes.
    Raises OutputError when it cannot be written.
    """
    file, content = model_path(path), _content(model)
    tensors = state_tensors(model.generator)
    if model.critic is not None:
        tensors |= {CRITIC + name: t for name, t in state_tensors(model.critic).items()}
    if model.encoder is not None:
        tensors |= {ENCODER + name: t for name, t in state_tensors(model.encoder).items()}
    if model.training_fingerprints is not None:
        tensors[TRAINING_FINGERPRINTS] = torch.from_numpy(
            np.sort(model.training_fingerprints).view(np.int64)
        )
    for number, calibration in enumerate(model.calibrations):
        tensors[f"{CALIBRATION}{number}"] = torch.from_numpy(calibration.scores)
        tensors[f"{CALIBRATION}{number}{TRAITS_OF}"] = torch.from_numpy(calibration.statistics)
    data = save(tensors, metadata("model", content))
    with replacing(file) as temporary:
        temporary.write_bytes(data)
    if file != Path(path):
        # for people and for tools that look for one; load_model goes by the header
        write_text(
            file.with_name(CONFIG_FILE), json.dumps(content, indent=2, sort_keys=True) + "\n"
        )
    return hashlib.sha256(data).hexdigest()


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Load a model folder or a .safetensors file, checking every key and shape.

    Raises ModelFileError, saying in one line what is wrong.
    """
    file = model_path(path)
    header = read_header(file, "model")
    try:
        config = from_dict(ModelConfig, header.content["model"])
        search = _search(header.content["search"])
        # format 1 knew one way of reading and kept no fingerprints
        reading = from_dict(ReadConfig, header.content.get("reading", to_dict(ReadConfig())))
        ranges = ranges_from(header.content.get("ranges", {}))
        ways = [_search(way) for way in header.content.get("calibrations", [])]
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{file} is corrupt: its settings do not hold ({error})") from error
    generator, tensors = Generator(config), read_tensors(file)
    training_fingerprints = _fingerprints(tensors.pop(TRAINING_FINGERPRINTS, None), file)
    of_critic, of_encoder = _taken(tensors, CRITIC), _taken(tensors, ENCODER)
    calibrations = _calibrations(ways, _taken(tensors, CALIBRATION), file)
    load_tensors(generator, tensors, file)
    critic = encoder = None
    if of_critic:
        critic = Critic(config, batch_norm=any("running_mean" in name for name in of_critic))
        load_tensors(critic, of_critic, file)
        critic.to(device).eval().requires_grad_(False)
    if of_encoder:
        encoder = Encoder(config, config.latent_dim)
        load_tensors(encoder, of_encoder, file)
        encoder.to(device).eval().requires_grad_(False)
    provenance = {key: header.content[key] for key in PROVENANCE if key in header.content}
    return Model(
        generator=generator.to(device).eval().requires_grad_(False),
        config=config,
        search=search,
        reading=reading,
        ranges=ranges,
        training_fingerprints=training_fingerprints,
        critic=critic,
        encoder=encoder,
        calibrations=calibrations,
        provenance=provenance,
        digest=file_digest(file),
        file=file,
    )


def read_search_config(path: str | Path) -> SearchConfig | None:
    """The settings of the search that a model was saved with; None where there is no model yet.

    Raises ModelFileError for one that is damaged.
    """
    file = model_path(path)
    try:
        return _search(read_header(file, "model").content["search"]) if file.exists() else None
    except (ConfigError, KeyError, TypeError) as error:
        raise ModelFileError(f"{file} is corrupt: its settings do not hold ({error})") from error


def read_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a file whose header is already checked."""
    try:
        return load(file.read_bytes())  # by bytes: load_file wants its path in UTF-8
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{file} is corrupt or truncated ({error}); train again") from error


def state_tensors(network: torch.nn.Module) -> dict[str, Tensor]:
    """The state of a network as safetensors wants it: on the CPU, contiguous."""
    return {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}


def load_tensors(network: torch.nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Fill `network`, after comparing every name, shape and type with what it has.

    Raises ModelFileError naming the first that does not fit, or a weight that is not finite.
    """
    wanted = network.state_dict()
    for name in sorted({*wanted, *tensors}):
        if name not in tensors:
            raise ModelFileError(f"{file} lacks {name}: not a model this adgan can use")
        if name not in wanted:
            raise ModelFileError(f"{file} has {name}, which its settings do not call for")
        want, got = wanted[name], tensors[name]
        if (got.shape, got.dtype) != (want.shape, want.dtype):
            raise ModelFileError(
                f"{file}: {name} is {tuple(got.shape)} {got.dtype}, "
                f"its settings call for {tuple(want.shape)} {want.dtype}"
            )
        if not got.isfinite().all():
            raise ModelFileError(f"{file}: {name} holds NaN or infinity; train again")
    network.load_state_dict(tensors)


def file_digest(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _taken(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove from `tensors` those whose names start so, and return them without that start."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def _fingerprints(tensor: Tensor | None, file: Path) -> np.ndarray | None:
    if tensor is None:
        return None
    if tensor.dtype != torch.int64 or tensor.dim() != 1:
        raise ModelFileError(f"{file}: {TRAINING_FINGERPRINTS} is not a row of 64-bit integers")
    return np.sort(tensor.numpy().view(np.uint64))  # sorted already, unless somebody edited it


def _search(values: Mapping[str, Any]) -> SearchConfig:
    # what an older format does not name was done as it is done by default
    return from_dict(SearchConfig, {**to_dict(PAPER_SEARCH), **values})


def _calibrations(
    ways: Sequence[SearchConfig], tensors: dict[str, Tensor], file: Path
) -> tuple[Calibration, ...]:
    found = []
    for number, way in enumerate(ways):
        scores, of = (tensors.pop(f"{number}{end}", None) for end in ("", TRAITS_OF))
        if scores is None or of is None or not _fits(scores, of):
            raise ModelFileError(f"{file} is corrupt: a calibration is not a row of numbers")
        found.append(Calibration(way, scores.numpy(), of.numpy()))
    if tensors:
        raise ModelFileError(f"{file} has {CALIBRATION}{min(tensors)}, which it does not explain")
    return tuple(found)


def _fits(scores: Tensor, of: Tensor) -> bool:
    """Whether these are the scores (N,) and traits (N, T) of a calibration."""
    shaped = scores.dim() == 1 and of.shape == (len(scores), len(STATISTICS))
    typed = scores.dtype == of.dtype == torch.float64
    return shaped and typed and bool(scores.isfinite().all() and of.isfinite().all())


def _content(model: Model) -> dict[str, Any]:
    return {
        **model.provenance,
        "model": to_dict(model.config),
        "search": to_dict(model.search),
        "reading": to_dict(model.reading),
        "ranges": ranges_dict(model.ranges),
        "calibrations": [to_dict(calibration.search) for calibration in model.calibrations],
    }
