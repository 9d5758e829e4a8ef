"""adgan info: what a model is, from its header."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import TINY, adgan, refused
from feature_models import save_joined_model
from safetensors.torch import load_file, save_file

from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.header import read_header

Folder = Callable[..., Path]


@pytest.fixture
def trained(discs: Folder, tmp_path: Path) -> Path:
    adgan("train", discs(4), *TINY, "-o", tmp_path / "trained", "-q")
    return tmp_path / "trained"


def test_json_tells_all_there_is_to_know(trained):
    result = adgan("info", trained, "--json")
    told, file = json.loads(result.stdout), trained / "model.safetensors"
    assert told["file"] == str(file)
    assert told["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert told["bytes"] == file.stat().st_size
    assert told["model"] == {"size": 16, "channels": 1, "latent_dim": 8, "width": 4}
    assert told["training"]["iters"] == 3 and told["data"]["pictures"] == 4
    model = load_model(trained)
    assert model.encoder is not None
    networks = model.generator.state_dict(), model.encoder.state_dict()
    assert told["numbers"] == sum(each.numel() for network in networks for each in network.values())
    assert result.stderr == ""


def test_the_text_tells_the_same(trained):
    told = json.loads(adgan("info", trained, "--json").stdout)
    lines = [line.split() for line in adgan("info", trained).stdout.splitlines()]
    assert ["sha256", told["sha256"]] in lines
    assert ["latent", "dim", "8"] in lines and ["pictures", "4"] in lines


def test_a_file_and_its_folder_are_the_same_model(tiny_model):
    file = adgan("info", tiny_model / "model.safetensors", "--json").stdout
    assert file == adgan("info", tiny_model, "--json").stdout


def test_the_model_can_come_from_the_environment(tiny_model):
    told = adgan("info", "--json", env={"ADGAN_MODEL": str(tiny_model)}).stdout
    assert json.loads(told)["file"] == str(tiny_model / "model.safetensors")


def test_a_model_in_a_folder_with_an_odd_name_can_be_told_of(tiny_model, tmp_path):
    folder = tmp_path / "new\nline\udcff"
    shutil.copytree(tiny_model, folder)
    assert r"new\nline\udcff" in adgan("info", folder).stdout.splitlines()[0]
    assert json.loads(adgan("info", folder, "--json").stdout)["file"].startswith(str(folder))


def test_what_is_no_model_is_refused(trained, tmp_path):
    for path, said in {
        tmp_path / "nothing": "no model at",
        trained / "config.json": "config.json is no model",
        trained / "checkpoint.safetensors": "is a checkpoint, not a model",
    }.items():
        assert said in refused("info", path, code=4)


@pytest.mark.parametrize("left", [0, 5, 300])
def test_a_truncated_model_is_refused(tiny_model, tmp_path, left):
    file = Path(shutil.copy(tiny_model / "model.safetensors", tmp_path))
    os.truncate(file, left)
    line = refused("info", file, code=4)
    assert line.startswith(f"{file} is corrupt or truncated")


def test_detectors_are_listed_with_what_they_count_for(tmp_path):
    save_joined_model(tmp_path)
    lines = adgan("info", tmp_path).stdout.splitlines()
    start = lines.index("features")
    assert lines[start + 1].split() == "histograms weight 0.75, AUC 0.800 of altered copies".split()
    assert lines[start + 2].split()[:3] == ["components", "weight", "0.25,"]
    assert "  --by reconstruction, by 60 pictures it was not trained on" in lines
    assert "  the settings below, by 60 pictures it was not trained on" in lines
    assert json.loads(adgan("info", tmp_path, "--json").stdout)["features"]["large_size"] is None


@pytest.mark.parametrize(
    "harm",
    [
        lambda c: c.update(features={"order": ["x"]}),
        lambda c: c.update(features=[1]),
        lambda c: c.update(calibrations=[5]),
        lambda c: c.pop("search"),
    ],
)
def test_a_header_that_does_not_hold_is_one_line(tmp_path, harm):
    file = save_joined_model(tmp_path) / "model.safetensors"
    header = read_header(file, "model").content
    harm(header)
    save_file(load_file(file), file, {"adgan": json.dumps(header)})
    assert "its header does not hold" in refused("info", file, code=4)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": ' + "9" * 10_000 + "}"])
def test_a_header_beyond_reason_is_one_line(tmp_path, text):
    file = tmp_path / "model.safetensors"
    save_file({}, file, {"adgan": text})
    assert "its header is not JSON" in refused("info", file, code=4)
