"""The header states what a file is; a file of something else is refused in one line."""

import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from adgan_cli.engine.models.header import FORMAT, metadata, read_header
from adgan_cli.errors import ModelFileError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(3, 2)}, path, metadata("model", {"model": {"size": 16}}))
    return path


def test_a_header_comes_back_with_the_shapes_of_the_tensors(file):
    header = read_header(file, "model")
    assert header.kind == "model" and header.content["model"] == {"size": 16}
    assert header.shapes == {"weight": (3, 2)}


def test_the_file_has_one_metadata_key(file):
    length = struct.unpack("<Q", file.read_bytes()[:8])[0]
    header = json.loads(file.read_bytes()[8 : 8 + length])
    assert list(header["__metadata__"]) == ["adgan"]


def test_a_foreign_safetensors_file_is_refused(file):
    save_file({"weight": torch.zeros(3)}, file)
    with pytest.raises(ModelFileError, match="not written by adgan"):
        read_header(file, "model")


@pytest.mark.parametrize(
    ("number", "remedy"), [(FORMAT + 1, "upgrade adgan"), (FORMAT - 1, "train again"), (1, "train")]
)
def test_another_format_is_refused_with_a_remedy(file, number, remedy):
    save_file(load_file(file), file, metadata("model", {"format": number}))
    with pytest.raises(ModelFileError, match=f"has format {number}.*{remedy}"):
        read_header(file, "model")


def test_a_checkpoint_is_not_a_model(file):
    save_file(load_file(file), file, metadata("checkpoint", {}))
    with pytest.raises(ModelFileError, match="is a checkpoint, not a model"):
        read_header(file, "model")


def test_a_header_that_is_not_json_is_corrupt(file):
    save_file(load_file(file), file, {"adgan": "{"})
    with pytest.raises(ModelFileError, match="not JSON"):
        read_header(file, "model")
