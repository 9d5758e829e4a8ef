"""The model that a training run amounts to, at any of its steps."""

import numpy as np

from adgan_cli import __version__
from adgan_cli.config import to_dict
from adgan_cli.engine.features.ensemble import FeatureModel
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.training.state import TrainState, ema_generator, kept_critic, learned_encoder
from adgan_cli.errors import DivergedError
from adgan_cli.fitting.data import data_provenance
from adgan_cli.fitting.settings import TrainingSettings
from adgan_cli.images.pixels import PixelSet


def trained_model(
    state: TrainState,
    settings: TrainingSettings,
    images: PixelSet,
    features: FeatureModel | None = None,
) -> Model:
    """Build the model that the state amounts to; DivergedError if it is not finite.

    images: those trained on; features: what was fitted to them.
    """
    generator, encoder = ema_generator(state), learned_encoder(state)
    for network in (generator, encoder):
        if network and not all(w.isfinite().all() for w in network.state_dict().values()):
            raise DivergedError(
                f"training diverged by step {state.step}: weights are not numbers; "
                "try --precision fp32 or another --seed"
            )
    # not `iters`, where training was meant to end, but where it did
    training = {**to_dict(state.train_config), "iters": state.step, "precision": state.precision}
    if settings.features is not None:
        training["features"] = to_dict(settings.features)
    return Model(
        generator,
        state.model_config,
        search=settings.search,
        reading=settings.reading,
        ranges=images.ranges,
        training_fingerprints=np.sort(images.fingerprints),
        critic=kept_critic(state) if settings.keep_critic else None,
        encoder=encoder,
        features=features,
        provenance={"adgan": __version__, "training": training, "data": data_provenance(images)},
    )
