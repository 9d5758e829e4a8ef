"""A saved model comes back as it was; a file that is damaged is refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_generator
from feature_models import noise, real_features
from safetensors.torch import load_file, save_file

from adgan_cli.config import PAPER_SEARCH, ReadConfig
from adgan_cli.engine.models.dcgan import Critic, init_weights
from adgan_cli.engine.models.files import load_model, save_model
from adgan_cli.engine.models.header import FORMAT, TRAINING_FINGERPRINTS, metadata, read_header
from adgan_cli.engine.models.model import Model
from adgan_cli.errors import ModelFileError, OutputError
from adgan_cli.images.read import Preprocessing
from adgan_cli.scoring.calibrate import ImagesToScore, with_calibration


@pytest.fixture
def model():
    generator = make_generator()
    return Model(generator, generator.config, replace(PAPER_SEARCH, k=7), {"data": {"pictures": 3}})


@pytest.fixture
def file(model, tmp_path):
    save_model(model, tmp_path)
    return tmp_path / "model.safetensors"


def content(file):
    return {
        k: v for k, v in read_header(file, "model").content.items() if k not in ("format", "kind")
    }


def test_a_model_comes_back_as_it_was(model, tmp_path):
    digest = save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert (loaded.config, loaded.search, loaded.digest) == (model.config, model.search, digest)
    assert loaded.provenance["data"] == {"pictures": 3}
    for name, tensor in model.generator.state_dict().items():
        assert torch.equal(tensor, loaded.generator.state_dict()[name]), name
    assert not loaded.generator.training
    assert not any(weight.requires_grad for weight in loaded.generator.parameters())


def test_how_pictures_were_read_comes_back(model, tmp_path):
    reading, ranges = ReadConfig("pad", "#0a0b0c"), (("F", -1.5, 2.0), ("I;16", 0.0, 4095.0))
    save_model(replace(model, reading=reading, ranges=ranges), tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.preprocessing() == Preprocessing(16, 3, "pad", "#0a0b0c", ranges)


def test_fingerprints_come_back_sorted(model, tmp_path):
    seen = np.array([2**63 + 5, 7, 300], np.uint64)  # beyond what a signed number holds
    save_model(replace(model, training_fingerprints=seen), tmp_path)
    assert load_model(tmp_path).training_fingerprints.tolist() == [7, 300, 2**63 + 5]


@pytest.mark.parametrize(
    "ranges", [{"F": [1, 0]}, {"F": [0]}, {"F": "ab"}, {"F": [0, "x"]}, [1], {"F": [0, 1e999]}, 5]
)
def test_ranges_that_cannot_be_are_corrupt(model, tmp_path, ranges):
    file = tmp_path / "bad.safetensors"
    save_model(model, file)
    text = json.dumps({"format": FORMAT, "kind": "model", **content(file), "ranges": ranges})
    save_file(load_file(file), file, {"adgan": text})
    with pytest.raises(ModelFileError, match="settings do not hold"):
        load_model(file)


@pytest.mark.parametrize("odd", [torch.zeros(3), torch.zeros(2, 2, dtype=torch.int64)])
def test_fingerprints_that_cannot_be_are_refused(model, tmp_path, odd):
    file = tmp_path / "bad.safetensors"
    save_model(model, file)
    tensors = {**load_file(file), TRAINING_FINGERPRINTS: odd}
    save_file(tensors, file, metadata("model", content(file)))
    with pytest.raises(ModelFileError, match="row of 64-bit integers"):
        load_model(file)


def test_a_model_can_be_one_file(model, tmp_path):
    save_model(model, tmp_path / "one.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["one.safetensors"]
    assert load_model(tmp_path / "one.safetensors").config == model.config


def test_the_config_for_people_is_the_headers(file):
    written = json.loads((file.parent / "config.json").read_text())
    assert written == content(file)


def test_every_truncation_is_refused(file):
    data = file.read_bytes()
    for length in (0, 4, 8, 100, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:length])
        with pytest.raises(ModelFileError, match="model.safetensors"):
            load_model(file)


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda t: t.pop("first.weight"), "lacks first.weight"),
        (lambda t: t.update(extra=torch.zeros(1)), "has extra"),
        (lambda t: t.update({"norms.0.bias": torch.zeros(3)}), r"norms.0.bias is \(3,\)"),
        (lambda t: t.update({"norms.0.bias": t["norms.0.bias"].double()}), "float64"),
        (lambda t: t["first.weight"].fill_(float("nan")), "NaN"),
    ],
)
def test_tensors_that_do_not_fit_are_named(file, harm, message):
    tensors, header = load_file(file), metadata("model", content(file))
    harm(tensors)
    save_file(tensors, file, header)
    with pytest.raises(ModelFileError, match=message):
        load_model(file)


@pytest.mark.parametrize(
    "harm",
    [
        lambda c: c.pop("model"),
        lambda c: c.update(model="64"),
        lambda c: c["model"].update(size=48),
        lambda c: c["model"].pop("width"),
        lambda c: c["search"].update(k="5"),
        lambda c: c["search"].update(k=-1),
        lambda c: c["search"].update(k=2**63),
        lambda c: c["search"].update(lr_z=10**400),
        lambda c: c["model"].update(latent_dim=10**400),
        lambda c: c.update(ranges={"F": [0, 10**400]}),
        lambda c: c["search"].pop("theta"),
        lambda c: c.pop("reading"),
        lambda c: c.pop("calibrations"),
    ],
)
def test_settings_that_do_not_hold_are_corrupt(file, harm):
    tensors, written = load_file(file), content(file)
    harm(written)
    save_file(tensors, file, metadata("model", written))
    with pytest.raises(ModelFileError, match="model.safetensors is corrupt"):
        load_model(file)


def test_a_folder_that_is_a_file_cannot_take_a_model(model, tmp_path):
    (tmp_path / "taken").write_text("theirs")
    with pytest.raises(OutputError, match="taken"):
        save_model(model, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "theirs"


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_critic_that_was_kept_comes_back(model, tmp_path, batch_norm):
    critic = Critic(model.config, batch_norm=batch_norm)
    init_weights(critic, torch.Generator().manual_seed(1))
    save_model(replace(model, critic=critic.eval()), tmp_path)
    loaded = load_model(tmp_path)
    x = torch.rand(2, model.config.channels, model.config.size, model.config.size)
    assert torch.equal(loaded.critic(x), critic(x))
    assert not any(weight.requires_grad for weight in loaded.critic.parameters())
    assert load_model(tmp_path).generator.state_dict().keys() == model.generator.state_dict().keys()


# features


@pytest.fixture
def with_features():
    pixels = noise(12, channels=3)
    generator = make_generator()
    model = Model(generator, generator.config, features=real_features(pixels))
    return with_calibration(
        model, ImagesToScore(pixels), replace(PAPER_SEARCH, by="all", n_seed=1, k=0)
    )


@pytest.mark.parametrize("generator", [True, False])
def test_features_and_what_they_are_calibrated_by_come_back(with_features, tmp_path, generator):
    model = with_features if generator else replace(with_features, generator=None)
    digest = save_model(model, tmp_path / "one")
    loaded = load_model(tmp_path / "one")
    assert (loaded.generator is not None) == generator
    assert save_model(loaded, tmp_path / "two") == digest
    assert loaded.features.names == model.features.names
    for before, after in zip(model.calibrations, loaded.calibrations, strict=True):
        assert (after.search, after.error_scale) == (before.search, before.error_scale)
        np.testing.assert_array_equal(after.scores, before.scores)
        np.testing.assert_array_equal(after.z_scores, before.z_scores)


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda c, t: c["features"]["order"].append("x"), "features lack 'x'"),
        (lambda c, t: c["features"].pop("scales"), "features lack 'scales'"),
        (lambda c, t: c.update(features=[]), "features do not hold"),
        (lambda c, t: c.update(features=None), "features do not hold"),
        (lambda c, t: c.pop("error_scales"), "settings do not hold"),
        (lambda c, t: c.update(error_scales=[None, None, None]), "not of its detectors"),
        (lambda c, t: c.update(error_scales=[None, None, {"mean": 0}]), "settings do not hold"),
        (lambda c, t: c["error_scales"][2].update(deviation=-1), "settings do not hold"),
        (lambda c, t: t.pop("features/components/mean"), "components lacks 'mean'"),
        (lambda c, t: t["features/components/mean"].fill_(torch.inf), "holds NaN or infinity"),
        (lambda c, t: t.update({"features/components/mean": torch.zeros(2)}), "do not hold"),
        (lambda c, t: t.update({"calibration/2.z": torch.zeros(12, 2)}), "not of its detectors"),
        (lambda c, t: t.pop("calibration/1.z"), "not of its detectors"),
        (lambda c, t: [t.pop(k) for k in list(t) if k.startswith(("first", "norms"))], "lacks"),
    ],
)
def test_features_that_do_not_hold_are_one_line(with_features, tmp_path, harm, message):
    file = tmp_path / "bad.safetensors"
    save_model(with_features, file)
    tensors, written = load_file(file), content(file)
    harm(written, tensors)
    save_file(tensors, file, metadata("model", written))
    with pytest.raises(ModelFileError, match=message) as error:
        load_model(file)
    assert str(file) in str(error.value) and "\n" not in str(error.value)
