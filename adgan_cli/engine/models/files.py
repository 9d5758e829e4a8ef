"""A trained model as one safetensors file: tensors, and in the header its settings and history."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from adgan_cli.atomic import replacing, write_text
from adgan_cli.config import ModelConfig, ReadConfig, SearchConfig, from_dict, to_dict
from adgan_cli.engine.features.ensemble import FeatureModel, Scale
from adgan_cli.engine.features.files import (
    feature_settings,
    feature_tensors,
    features_from,
    scale_from,
)
from adgan_cli.engine.models.dcgan import Critic, Encoder, Generator
from adgan_cli.engine.models.header import TRAINING_FINGERPRINTS, metadata, model_path, read_header
from adgan_cli.engine.models.model import Calibration, Model
from adgan_cli.errors import ConfigError, ModelFileError
from adgan_cli.images.depth import ranges_dict, ranges_from
from adgan_cli.images.statistics import STATISTICS

CONFIG_FILE = "config.json"
# the keys of the header that say how a model came to be
PROVENANCE = "training", "data", "adgan", "encoder", "imported", "verdict"
CRITIC, ENCODER = "critic/", "encoder/"  # before the names of their tensors
CALIBRATION = "calibration/"  # before the number of a calibration: the tensor of its scores
OF_STATISTICS = ".traits"  # behind that: the tensor of its statistics
OF_Z_SCORES = ".z"  # and that of its detectors' scores
FEATURES = "features/"  # before the tensors of detectors

Network = TypeVar("Network", bound=nn.Module)


def save_model(model: Model, path: str | Path) -> str:
    """Write model.safetensors and config.json into the folder `path`; return the digest.

    A path that ends in .safetensors gets the one file only. Equal models give equal bytes.
    Raises OutputError when it cannot be written.
    """
    file, data = model_path(path), _file_bytes(model)
    with replacing(file) as temporary:
        temporary.write_bytes(data)
    if file != Path(path):
        # for people and for tools that look for one; load_model goes by the header
        text = json.dumps(_content(model), indent=2, sort_keys=True) + "\n"
        write_text(file.with_name(CONFIG_FILE), text)
    return hashlib.sha256(data).hexdigest()


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Load a model folder or a .safetensors file; raise ModelFileError for what is wrong in it."""
    file = model_path(path)
    content = read_header(file, "model").content
    with _settings_of(file):
        config = from_dict(ModelConfig, content["model"])
        search = from_dict(SearchConfig, content["search"])
        reading = from_dict(ReadConfig, content["reading"])
        ranges = ranges_from(content["ranges"])
        searches = [from_dict(SearchConfig, values) for values in content["calibrations"]]
        has_generator = content["has_generator"]
        error_scales = list(map(_error_scale, content["error_scales"]))
    tensors = read_tensors(file)
    fingerprints = _fingerprints(tensors.pop(TRAINING_FINGERPRINTS, None), file)
    of_critic, of_encoder = pop_prefixed(tensors, CRITIC), pop_prefixed(tensors, ENCODER)
    of_features = pop_prefixed(tensors, FEATURES)
    features = _features(content.get("features"), of_features, device, file)
    of_calibrations = pop_prefixed(tensors, CALIBRATION)
    n_detectors = 0 if features is None else len(features.detectors)
    calibrations = _calibrations(searches, error_scales, of_calibrations, n_detectors, file)

    def filled(network: Network, tensors: Mapping[str, Tensor]) -> Network:
        load_tensors(network, tensors, file)
        return network.to(device).eval().requires_grad_(False)

    critic = encoder = generator = None
    if has_generator is not False or tensors or features is None:
        generator = filled(Generator(config), tensors)
    if of_critic:
        batch_norm = any("running_mean" in name for name in of_critic)
        critic = filled(Critic(config, batch_norm=batch_norm), of_critic)
    if of_encoder:
        encoder = filled(Encoder(config, config.latent_dim), of_encoder)
    return Model(
        generator=generator,
        config=config,
        search=search,
        reading=reading,
        ranges=ranges,
        training_fingerprints=fingerprints,
        critic=critic,
        encoder=encoder,
        features=features,
        calibrations=calibrations,
        provenance={key: content[key] for key in PROVENANCE if key in content},
        digest=file_digest(file),
        file=file,
    )


def read_search_config(path: str | Path) -> SearchConfig | None:
    """Read the search settings that a model was saved with; None where there is no model yet."""
    file = model_path(path)
    if not file.exists():
        return None
    content = read_header(file, "model").content
    with _settings_of(file):
        return from_dict(SearchConfig, content["search"])


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read all tensors of a file whose header is already checked."""
    try:
        return load(file.read_bytes())  # by bytes: load_file needs its path in UTF-8
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{file} is corrupt or truncated ({error}); train again") from error


def state_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Give the state of a network as safetensors needs it: on the CPU, contiguous."""
    return {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}


def load_tensors(network: nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Fill `network`; raise ModelFileError for the first name, shape or weight that is wrong."""
    expected = network.state_dict()
    for name in sorted({*expected, *tensors}):
        if name not in tensors:
            raise ModelFileError(f"{file} lacks {name}: not a model this adgan can use")
        if name not in expected:
            raise ModelFileError(f"{file} has {name}, which its settings do not call for")
        tensor, weight = tensors[name], expected[name]
        if (tensor.shape, tensor.dtype) != (weight.shape, weight.dtype):
            raise ModelFileError(
                f"{file}: {name} is {tuple(tensor.shape)} {tensor.dtype}, "
                f"its settings call for {tuple(weight.shape)} {weight.dtype}"
            )
        if not tensor.isfinite().all():
            raise ModelFileError(f"{file}: {name} holds NaN or infinity; train again")
    network.load_state_dict(tensors)


def model_digest(model: Model) -> str:
    """Return the digest of the file that a model in memory would be saved as."""
    return hashlib.sha256(_file_bytes(model)).hexdigest()


def file_digest(file: Path) -> str:
    """Compute the SHA-256 of a file, in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _file_bytes(model: Model) -> bytes:
    data: bytes = save(_tensors(model), metadata("model", _content(model)))
    return data


def _content(model: Model) -> dict[str, Any]:
    """Collect a model's header, plain JSON."""
    return {
        **model.provenance,
        "model": to_dict(model.config),
        "search": to_dict(model.search),
        "reading": to_dict(model.reading),
        "ranges": ranges_dict(model.ranges),
        "calibrations": [to_dict(calibration.search) for calibration in model.calibrations],
        "has_generator": model.generator is not None,
        "error_scales": [one.error_scale and asdict(one.error_scale) for one in model.calibrations],
        **({} if model.features is None else {"features": feature_settings(model.features)}),
    }


def _tensors(model: Model) -> dict[str, Tensor]:
    """Collect the tensors of a model under the names they have in the file."""
    tensors = {} if model.generator is None else state_tensors(model.generator)
    for prefix, network in ((CRITIC, model.critic), (ENCODER, model.encoder)):
        if network is not None:
            tensors |= {prefix + name: t for name, t in state_tensors(network).items()}
    if model.training_fingerprints is not None:
        fingerprints = np.sort(model.training_fingerprints).view(np.int64)
        tensors[TRAINING_FINGERPRINTS] = torch.from_numpy(fingerprints)
    for number, calibration in enumerate(model.calibrations):
        name = f"{CALIBRATION}{number}"
        tensors[name] = torch.from_numpy(calibration.scores)
        # copied: several calibrations may share the statistics of the same images
        tensors[name + OF_STATISTICS] = torch.from_numpy(calibration.statistics.copy())
        if calibration.z_scores is not None:
            tensors[name + OF_Z_SCORES] = torch.from_numpy(calibration.z_scores)
    if model.features is not None:
        tensors |= {FEATURES + name: t for name, t in feature_tensors(model.features).items()}
    return tensors


@contextmanager
def _settings_of(file: Path) -> Iterator[None]:
    """Turn what is wrong with the settings in a header into a ModelFileError."""
    try:
        yield
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{file} is corrupt: its settings do not hold ({error})") from error


def pop_prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove the tensors whose names start with `prefix`; return them by the rest of the name."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def _fingerprints(tensor: Tensor | None, file: Path) -> np.ndarray | None:
    if tensor is None:
        return None
    if tensor.dtype != torch.int64 or tensor.dim() != 1:
        raise ModelFileError(f"{file}: {TRAINING_FINGERPRINTS} is not a row of 64-bit integers")
    return np.sort(tensor.numpy().view(np.uint64))  # sorted already, unless somebody edited it


def _features(
    settings: Any, tensors: Mapping[str, Tensor], device: torch.device | str, file: Path
) -> FeatureModel | None:
    if settings is None and not tensors:
        return None
    try:
        return features_from(settings, tensors, device)
    except KeyError as error:
        raise ModelFileError(f"{file} is corrupt: its features lack {error}") from error
    except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        problem = str(error).split("\n")[0]
        raise ModelFileError(f"{file} is corrupt: its features do not hold ({problem})") from error


def _error_scale(values: Any) -> Scale | None:
    """Read how errors of images held out lie; ValueError for what is none."""
    return None if values is None else scale_from(values)


def _calibrations(
    searches: Sequence[SearchConfig],
    error_scales: Sequence[Scale | None],
    tensors: dict[str, Tensor],
    n_detectors: int,
    file: Path,
) -> tuple[Calibration, ...]:
    calibrations = []
    for number, (search, scale) in enumerate(zip(searches, error_scales, strict=True)):
        scores = tensors.pop(f"{number}", None)
        statistics = tensors.pop(f"{number}{OF_STATISTICS}", None)
        z_scores = tensors.pop(f"{number}{OF_Z_SCORES}", None)
        if scores is None or statistics is None or not _valid_calibration(scores, statistics):
            raise ModelFileError(f"{file} is corrupt: a calibration is not a row of numbers")
        parts = n_detectors + 1 if search.by == "all" else n_detectors
        has_parts = False
        if z_scores is not None:  # NaN where a detector was missing
            expected = (len(scores), parts), torch.float64
            has_parts = (z_scores.shape, z_scores.dtype) == expected
        if has_parts == (search.by == "reconstruction") or (scale is None) == (search.by == "all"):
            raise ModelFileError(f"{file} is corrupt: a calibration is not of its detectors")
        table = None if z_scores is None else z_scores.numpy()
        calibrations.append(Calibration(search, scores.numpy(), statistics.numpy(), table, scale))
    if tensors:
        raise ModelFileError(f"{file} has {CALIBRATION}{min(tensors)}, which it does not explain")
    return tuple(calibrations)


def _valid_calibration(scores: Tensor, statistics: Tensor) -> bool:
    """Check that these are finite scores (N,) and statistics (N, T)."""
    has_shape = scores.dim() == 1 and statistics.shape == (len(scores), len(STATISTICS))
    has_type = scores.dtype == statistics.dtype == torch.float64
    return has_shape and has_type and bool(scores.isfinite().all() and statistics.isfinite().all())
