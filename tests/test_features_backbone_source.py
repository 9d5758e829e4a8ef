"""--features names a network of timm, a file of weights, or both."""

import json
from pathlib import Path

import pytest

from adgan_cli.engine.features.backbone_source import (
    BackboneSource,
    data_config_beside,
    parse_backbone_source,
)
from adgan_cli.errors import ConfigError

pytest.importorskip("huggingface_hub", reason="comes with timm")


def empty(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet50", "resnet50.a1_in1k"])
def test_a_name_of_timm_has_its_weights_where_timm_keeps_them(name):
    assert parse_backbone_source(name) == BackboneSource(name)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("tf_efficientnet_lite0-0aa007d2.pth", "tf_efficientnet_lite0"),
        ("tf_efficientnet_lite0.safetensors", "tf_efficientnet_lite0"),
        ("resnet50_a1_0-14fe96d1.pth", "resnet50"),
        ("resnet50d_ra2-464e36ba.pth", "resnet50d"),
        ("resnet18.a1=b.safetensors", "resnet18"),
    ],
)
def test_a_file_is_of_the_network_that_its_name_begins_with(tmp_path, file, name):
    path = empty(tmp_path / "weights" / file)
    assert parse_backbone_source(str(path)) == BackboneSource(name, path)


def test_a_config_beside_a_file_tells_its_network(tmp_path):
    path = empty(tmp_path / "model.safetensors")
    config = {"architecture": "resnet18", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3]}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for text in (str(path), str(tmp_path)):
        assert parse_backbone_source(text) == BackboneSource("resnet18", path)
    assert data_config_beside(path) == {"mean": [0.1, 0.2, 0.3]}


@pytest.mark.parametrize("content", ["", "[1]", '{"model": {}}', '{"architecture": 7}'])
def test_a_config_of_something_else_tells_nothing(tmp_path, content):
    path = empty(tmp_path / "resnet18.pth")
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    assert parse_backbone_source(str(path)) == BackboneSource("resnet18", path)
    assert data_config_beside(path) == {}


def test_name_and_file_together_need_no_guess(tmp_path):
    path = empty(tmp_path / "best.pth")
    assert parse_backbone_source(f"resnet18={path}") == BackboneSource("resnet18", path)
    with pytest.raises(ConfigError, match="give --features NAME="):
        parse_backbone_source(str(path))


def test_a_name_that_does_not_exist_gets_the_nearest():
    with pytest.raises(ConfigError, match="resnet5O: .*; the nearest names are resnet50, "):
        parse_backbone_source("resnet5O")
    with pytest.raises(ConfigError, match="resnet50.a1_in1: .*; it has resnet50.a1_in1k, "):
        parse_backbone_source("resnet50.a1_in1")
    with pytest.raises(ConfigError, match="no network of this name"):
        parse_backbone_source("hf_hub:timm")


@pytest.mark.parametrize("text", ["gone.pth", "resnet18=gone.pth", "here/resnet18"])
def test_a_file_that_is_not_there_is_named(text):
    with pytest.raises(ConfigError, match="no such file"):
        parse_backbone_source(text)
