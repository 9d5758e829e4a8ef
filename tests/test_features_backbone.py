"""A network of timm has the very weights it is to have, and images are prepared for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pretrained_networks import TINY, save_tiny_weights, tiny_weights
from safetensors.torch import save_file

from adgan_cli.engine.features.backbone import backbone_config_from, load_backbone, reload_backbone
from adgan_cli.engine.features.backbone_source import BackboneSource, parse_backbone_source
from adgan_cli.engine.features.timm_import import import_timm
from adgan_cli.errors import ConfigError

pytest.importorskip("huggingface_hub", reason="comes with timm")


def images(count=2, side=32, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8)


def test_the_network_has_the_weights_of_the_file(backbone, weights_file):
    network = import_timm().create_model(TINY)
    network.load_state_dict(tiny_weights())
    network.eval()
    x = backbone.prepare(images(side=160), 160)
    seen = backbone(x)
    with torch.no_grad():
        torch.testing.assert_close(seen.logits, network(x))
        torch.testing.assert_close(
            seen.last, network.forward_head(network.forward_features(x), pre_logits=True)
        )
    assert [one.shape[1:] for one in seen.maps] == [(32, 20, 20), (48, 10, 10), (64, 5, 5)]
    for one, other in zip(seen.maps, backbone.maps(x, backbone.config.layers), strict=True):
        torch.testing.assert_close(one, other)
    assert backbone.given_weights == str(weights_file)


def test_images_are_prepared_as_in_its_training(backbone):
    grey = np.full((1, 160, 160, 1), 51, np.uint8)
    prepared = backbone.prepare(grey, 160)
    expected = (0.2 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(prepared, expected[None, :, None, None].expand(1, 3, 160, 160))
    assert backbone.prepare(images(side=16), 112).shape == (2, 3, 112, 112)
    assert backbone.prepare(images(side=300), 160).shape == (2, 3, 160, 160)


def test_small_images_are_enlarged_and_large_ones_read_at_the_network_s_side(backbone):
    assert [backbone.reading_side(side) for side in (8, 32, 112, 113, 128, 160, 999)] == [
        *(112, 112, 112, 128, 128, 160, 160)
    ]
    fixed = replace(backbone, config=replace(backbone.config, fixed_side=True))
    assert fixed.reading_side(32) == 160


def test_random_numbers_of_others_are_left_alone(weights_file):
    torch.manual_seed(3)
    load_backbone(BackboneSource(TINY, weights_file))
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert drawn == torch.rand(1)


def test_weights_without_classes_are_weights(tmp_path):
    path = save_tiny_weights(tmp_path, num_classes=0)
    assert load_backbone(BackboneSource(TINY, path))(torch.zeros(1, 3, 64, 64)).logits is None
    path = save_tiny_weights(tmp_path, num_classes=7)
    assert load_backbone(BackboneSource(TINY, path))(torch.zeros(1, 3, 64, 64)).logits.shape == (
        1,
        7,
    )


def test_a_transformer_shows_four_of_its_blocks(tmp_path):
    vit = load_backbone(parse_backbone_source(str(save_tiny_weights(tmp_path, name="test_vit"))))
    assert vit.config.fixed_side and len(vit.config.layers) == 4 and vit.config.layers[-1] == 5
    seen = vit(vit.prepare(images(), vit.reading_side(32)))
    assert [one.shape for one in seen.maps] == [(2, 64, 10, 10)] * 4
    assert seen.last.shape == (2, 64)


def test_weights_of_another_network_name_what_differs(weights_file, tmp_path):
    with pytest.raises(ConfigError, match="is not of test_resnet: conv1.0.weight is missing"):
        load_backbone(BackboneSource("test_resnet", weights_file))
    weights = tiny_weights()
    weights["conv_stem.weight"] = weights["conv_stem.weight"][:, :1].contiguous()
    save_file(weights, tmp_path / "grey.safetensors")
    with pytest.raises(
        ConfigError, match=r"conv_stem.weight is \(24, 1, 3, 3\) there and \(24, 3, "
    ):
        load_backbone(BackboneSource(TINY, tmp_path / "grey.safetensors"))
    weights = tiny_weights() | {"bn1.bias": torch.full((24,), torch.nan)}
    save_file(weights, tmp_path / "nan.safetensors")
    with pytest.raises(ConfigError, match="NaN"):
        load_backbone(BackboneSource(TINY, tmp_path / "nan.safetensors"))


def test_a_model_takes_back_its_own_weights_alone(backbone, weights_file, tmp_path):
    config = backbone_config_from(backbone.config.settings())
    assert config == backbone.config
    pth = save_tiny_weights(tmp_path, suffix=".pth")
    assert reload_backbone(config, pth).config == config  # the same numbers in another format
    other = tiny_weights() | {"bn1.bias": torch.ones(24)}
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match="other.safetensors has other weights .*--by reconstruct"):
        reload_backbone(config, tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    "change", [{"std": [1, 1]}, {"std": [0, 1, 1]}, {"side": 0}, {"layers": 3}]
)
def test_settings_that_no_network_has_are_refused(backbone, change):
    with pytest.raises((TypeError, ValueError)):
        backbone_config_from(backbone.config.settings() | change)
