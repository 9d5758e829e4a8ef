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


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "not written by adgan"),
        ({"adgan": "{"}, "not JSON"),
        (metadata("checkpoint", {}), "is a checkpoint, not a model"),
        (metadata("model", {"format": FORMAT + 1}), f"has format {FORMAT + 1}.*upgrade adgan"),
        (metadata("model", {"format": FORMAT - 1}), f"has format {FORMAT - 1}.*train again"),
        (metadata("model", {"format": 1}), "has format 1.*train"),
    ],
)
def test_a_header_of_something_else_is_refused_with_a_remedy(file, header, message):
    save_file(load_file(file), file, header)
    with pytest.raises(ModelFileError, match=message):
        read_header(file, "model")
