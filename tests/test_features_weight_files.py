"""Weights are read without running code, found without a connection, and known by their digest."""

import os
import pickle
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adgan_cli.engine.features.weight_files import (
    WEIGHTS_VARIABLE,
    first_mismatch,
    locate_weights,
    read_weights,
    weights_digest,
)
from adgan_cli.errors import ConfigError

hub = pytest.importorskip("huggingface_hub", reason="comes with timm")
NAME = "tf_efficientnet_lite0"
WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.num_batches_tracked": torch.tensor(5)}


class Code:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(autouse=True)
def no_connection(monkeypatch, tmp_path):
    """No weights in any cache, and an error for whoever connects."""

    def refuse(*args, **more):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)


@pytest.mark.parametrize("key", ["state_dict", "model", "state_dict_ema", None])
def test_weights_are_taken_out_of_what_trainers_save(tmp_path, key):
    file = tmp_path / "w.pth"
    torch.save(WEIGHTS if key is None else {key: WEIGHTS, "epoch": 3}, file)
    assert read_weights(file).keys() == WEIGHTS.keys()


def test_both_formats_have_one_digest(tmp_path):
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    torch.save(
        {f"module.{name}": one for name, one in reversed(WEIGHTS.items())}, tmp_path / "w.pt"
    )
    digests = {weights_digest(read_weights(tmp_path / name)) for name in ("w.safetensors", "w.pt")}
    assert digests == {weights_digest({"a.weight": WEIGHTS["a.weight"]})}
    assert weights_digest({"a.weight": WEIGHTS["a.weight"].T}) not in digests
    assert weights_digest({"b.weight": WEIGHTS["a.weight"]}) not in digests


def test_pickled_code_is_not_run(tmp_path):
    code = {"a": Code(tmp_path / "ran")}
    torch.save(code, tmp_path / "w.pth")
    (tmp_path / "w.bin").write_bytes(pickle.dumps(code, protocol=2))
    for name in ("w.pth", "w.bin"):
        with pytest.raises(ConfigError, match="pickled code .* was not opened"):
            read_weights(tmp_path / name)
    (tmp_path / "w.bin").write_bytes(pickle.dumps(code, protocol=4))
    with pytest.raises(ConfigError, match="is no file of weights"):
        read_weights(tmp_path / "w.bin")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_damaged_file_is_one_line(tmp_path, suffix):
    file = tmp_path / f"w{suffix}"
    save_file(WEIGHTS, file) if suffix == ".safetensors" else torch.save(WEIGHTS, file)
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no weights at all", whole[:-1]):
        file.write_bytes(damaged)
        with pytest.raises(ConfigError, match="fetch it again") as caught:
            read_weights(file)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{}, [1, 2], {"a": 1}, torch.zeros(2)])
def test_what_is_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match="is no file of weights"):
        read_weights(tmp_path / "w.pt")


def test_the_first_weight_that_differs_is_named():
    one, two = (
        {"a": torch.zeros(2)},
        {"a": torch.zeros(2), "b.num_batches_tracked": torch.tensor(1)},
    )
    assert first_mismatch(one, two) == first_mismatch(two, one) == ""
    assert first_mismatch({}, one) == "a is missing"
    assert first_mismatch(one, {}) == "a is too much"
    assert first_mismatch(one, {"a": torch.zeros(3)}) == "a is (2,) there and (3,) in the network"


def test_missing_weights_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(
        ConfigError, match=f"no weights of {NAME} in .*hub nor in .*checkpoints; .*"
    ):
        locate_weights(NAME)
    with pytest.raises(ConfigError, match=f"gone.pth: no such file of weights of {NAME}"):
        locate_weights(NAME, tmp_path / "gone.pth")


def test_weights_are_found_where_they_are_given_or_kept(tmp_path, monkeypatch):
    kept = tmp_path / "torch" / "hub" / "checkpoints" / "tf_efficientnet_lite0-0aa007d2.pth"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert locate_weights(NAME) == kept
    snapshot = tmp_path / "hub" / f"models--timm--{NAME}.in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc", encoding="utf-8")
    cached = snapshot / "model.safetensors"
    cached.touch()
    assert locate_weights(NAME) == cached
    of_variable, given = tmp_path / "one.pth", tmp_path / "two.pth"
    of_variable.touch()
    given.touch()
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(of_variable))
    assert locate_weights(NAME) == of_variable
    assert locate_weights(NAME, given, download=True) == given


def test_a_download_that_fails_is_one_line(monkeypatch):
    def fail(*args, **more):
        raise hub.errors.LocalEntryNotFoundError("no connection\nat all")

    monkeypatch.setattr(hub, "hf_hub_download", fail)
    with pytest.raises(ConfigError, match=f"^--download: the weights of {NAME} .*connection"):
        locate_weights(NAME, download=True)


def test_a_download_takes_the_first_file_that_there_is(tmp_path, monkeypatch):
    def fetch(repository, file, revision=None):
        assert repository == f"timm/{NAME}.in1k"
        if file == "model.safetensors":
            raise hub.errors.EntryNotFoundError("no such file")
        return str(tmp_path / file)

    monkeypatch.setattr(hub, "hf_hub_download", fetch)
    assert locate_weights(NAME, download=True) == tmp_path / "pytorch_model.bin"
