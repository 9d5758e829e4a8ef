"""Models with features for tests: two real detectors, or such as answer with a mean of pixels."""

from dataclasses import dataclass

import numpy as np
from conftest import make_generator

from adgan_cli.config import ModelConfig, SearchConfig
from adgan_cli.engine.features.components import fit_components
from adgan_cli.engine.features.ensemble import FeatureModel, Scale
from adgan_cli.engine.features.feature_distance import fit_histograms
from adgan_cli.engine.models.model import Model

BY_FEATURES = SearchConfig(by="features")


@dataclass(frozen=True)
class Brightness:
    """A detector to which bright images are unusual; it can want them large."""

    reads_large: bool = False

    def score(self, image):
        return float(image.mean()) + 1

    def settings(self):
        return {"reads_large": self.reads_large}

    def tensors(self):
        return {}


@dataclass(frozen=True)
class Contrast(Brightness):
    """A detector to which images of high contrast are unusual."""

    def score(self, image):
        return float(image.std()) + 1


def fake_features(*, large_size=None, weights=(0.25, 0.75), **more):
    """Brightness, read large where there is a size, and contrast; logs are 4 +- 0.5 in both."""
    detectors = {"brightness": Brightness(large_size is not None), "contrast": Contrast()}
    scales = {
        name: Scale(4.0, 0.5, weight, 0.5 + 0.4 * weight)
        for name, weight in zip(detectors, weights, strict=True)
    }
    return FeatureModel(detectors, scales, large_size, **more)


def fake_model(*, generator=True, channels=1, **more):
    """A model of 16 pixels with fake features."""
    if generator:
        network = make_generator(channels=channels)
        return Model(network, network.config, BY_FEATURES, features=fake_features(**more))
    config = ModelConfig(16, channels, 8, 4)
    return Model(None, config, BY_FEATURES, features=fake_features(**more))


def noise(count, *, seed=0, size=16, channels=1):
    """Noise of any brightness and contrast: uint8 (N, S, S, C)."""
    rng = np.random.default_rng(seed)
    level, spread = rng.uniform(40, 200, (count, 1, 1, 1)), rng.uniform(5, 40, (count, 1, 1, 1))
    images = level + spread * rng.normal(size=(count, size, size, channels))
    return images.clip(0, 255).astype(np.uint8)


def real_features(pixels):
    """Histograms and components of images, uint8 (N, S, S, C); the histograms count three times."""
    detectors = {"histograms": fit_histograms(pixels, 0), "components": fit_components(pixels, 0)}
    scales = {}
    for name, weight in (("histograms", 0.75), ("components", 0.25)):
        logs = np.log([detectors[name].score(image) + 1e-12 for image in pixels])
        scales[name] = Scale(float(logs.mean()), float(logs.std()), weight, 0.5 + 0.4 * weight)
    return FeatureModel(detectors, scales)


def save_joined_model(folder, *, generator=True):
    """Save a model of 16 pixels, grey, with real features, calibrated by all ways to score."""
    from dataclasses import replace

    from adgan_cli.config import PAPER_SEARCH
    from adgan_cli.engine.models.files import save_model
    from adgan_cli.scoring.calibrate import ImagesToScore, with_calibration

    network = make_generator(channels=1)
    model = Model(
        network if generator else None,
        network.config,
        replace(PAPER_SEARCH, by="features", n_seed=1, k=1),
        features=real_features(noise(30)),
        training_fingerprints=np.zeros(0, np.uint64),
    )
    by = "all" if generator else "features"
    config = replace(model.search, by=by)
    save_model(with_calibration(model, ImagesToScore(noise(60, seed=1)), config), folder)
    return folder
