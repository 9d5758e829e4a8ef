"""Features come back from a file as they were; what is damaged is refused, never scored with."""

import json

import numpy as np
import pytest
import torch
from feature_models import noise, real_features

from adgan_cli.engine.features import files
from adgan_cli.engine.features.files import feature_settings, feature_tensors, features_from
from adgan_cli.errors import ConfigError
from adgan_cli.scoring.labels import DETECTOR_LABELS


@pytest.fixture(scope="module")
def features():
    return real_features(noise(12, channels=3))


@pytest.fixture
def kept(features):
    """What a file keeps of them: plain JSON and tensors."""
    settings = json.loads(json.dumps(feature_settings(features), sort_keys=True))
    return settings, {name: tensor.clone() for name, tensor in feature_tensors(features).items()}


def test_scores_are_the_same_to_the_bit_and_detectors_keep_their_order(features, kept):
    again = features_from(*kept)
    assert again.names == features.names == ("histograms", "components")
    assert again.scales == features.scales
    pixels = noise(4, seed=1, channels=3)
    assert (again.z_scores(pixels) == features.z_scores(pixels)).all()


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda s, t: t.pop("components/mean"), "components lacks 'mean'"),
        (lambda s, t: t["components/mean"].fill_(float("nan")), "components/mean holds NaN"),
        (lambda s, t: t.update({"components/mean": torch.zeros(3)}), "mean"),
        (lambda s, t: t.update({"other/mean": torch.zeros(3)}), "no detector has other/mean"),
        (lambda s, t: s["order"].append("psychic"), "psychic"),
        (lambda s, t: s["order"].clear(), "no detector has"),
        (lambda s, t: s["order"].append("components"), "components twice"),
        (lambda s, t: s["detectors"]["components"].pop("size"), "components lacks 'size'"),
        (lambda s, t: s["scales"]["components"].update(weight=2.0), "weight"),
        (lambda s, t: s["scales"]["components"].update(deviation=-1), "cannot lie as"),
        (lambda s, t: s["scales"]["components"].update(prior=-1), "counts so much"),
        (lambda s, t: s.update(large_size=0), "0 pixels"),
        (lambda s, t: s.update(large_size=10**6), "1000000 pixels"),
    ],
)
def test_what_does_not_hold_is_named(kept, harm, message):
    harm(*kept)
    with pytest.raises((KeyError, ValueError), match=message):
        features_from(*kept)


def test_a_network_that_is_not_here_leaves_the_others_and_is_saved_again(kept, monkeypatch):
    def connect(detector, device):
        if type(detector).__name__ == "Components":
            raise ConfigError("needs what is not here: install it")
        return detector

    monkeypatch.setattr(files, "connect", connect)
    features = features_from(*kept)
    assert features.names == ("histograms",) and features.weights == {"histograms": 1.0}
    assert features.missing == {"components": "needs what is not here: install it"}
    assert features.z_scores(noise(3, channels=3)).shape == (3, 1)
    assert feature_settings(features) == kept[0]
    tensors = feature_tensors(features)
    assert tensors.keys() == kept[1].keys()
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in tensors.items())


def test_a_pretrained_network_is_looked_for_where_its_weights_were(tmp_path):
    pytest.importorskip("huggingface_hub", reason="comes with timm")
    from pretrained_networks import save_tiny_weights

    from adgan_cli.engine.features.backbone import load_backbone
    from adgan_cli.engine.features.backbone_source import parse_backbone_source
    from adgan_cli.engine.features.ensemble import FeatureModel, Scale
    from adgan_cli.engine.features.pretrained import fit_pretrained

    file = save_tiny_weights(tmp_path)
    backbone = load_backbone(parse_backbone_source(str(file)))
    pixels = np.repeat(noise(8, size=32, channels=3), 2, axis=0)
    detector = fit_pretrained(backbone, pixels[:8], pixels[8:], side=64)
    model = FeatureModel({"pretrained": detector}, {"pretrained": Scale(0, 1, 1, 0.75)}, 32)
    settings = json.loads(json.dumps(feature_settings(model)))
    again = features_from(settings, feature_tensors(model))
    assert again.side_read == 32
    assert (again.z_scores(pixels, pixels) == model.z_scores(pixels, pixels)).all()
    file.unlink()
    gone = features_from(settings, feature_tensors(model))
    assert gone.names == () and gone.side_read is None
    assert "test_efficientnet" in gone.missing["pretrained"]


def test_each_detector_can_be_loaded_and_has_words_for_people():
    assert {*files.LOADERS, "reconstruction"} == set(DETECTOR_LABELS)
