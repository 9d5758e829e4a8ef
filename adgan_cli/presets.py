"""Defaults by name: of `train`, and of the search in `score` and `rank`. No torch in here."""

from dataclasses import dataclass
from typing import Literal

from adgan_cli.config import PAPER_SEARCH, FeatureConfig, ModelConfig, SearchConfig, TrainConfig

SearchName = Literal["paper", "tuned"]
PresetName = Literal["quick", "default", "features", "paper"]

SEARCHES: dict[SearchName, SearchConfig] = {"paper": PAPER_SEARCH, "tuned": SearchConfig()}
# settings that train chooses by what the machine can do in the time, where they are not given
ADAPTED = "size", "width", "batch_size"


@dataclass(frozen=True)
class Preset:
    """A set of defaults for `train`; every option given beside it wins."""

    model: ModelConfig
    train: TrainConfig
    max_time: str  # as --max-time takes it
    search: SearchConfig = SearchConfig()  # the model's own
    features: FeatureConfig | None = FeatureConfig()  # None: no features
    gan: bool = True  # whether a generator is trained
    is_protocol: bool = False  # its networks are those of a paper, whatever the machine can do


PRESETS: dict[PresetName, Preset] = {
    # a first answer within minutes on a laptop
    "quick": Preset(ModelConfig(size=32), TrainConfig(iters=5000), "10m"),
    "default": Preset(ModelConfig(), TrainConfig(), "30m"),
    # a first answer within two minutes, without reconstructions
    "features": Preset(ModelConfig(), TrainConfig(), "2m", gan=False),
    # weight clipping on the reference schedule, the last generator, as long as it takes
    "paper": Preset(
        ModelConfig(latent_dim=256),
        TrainConfig(objective="wgan", ema=0.0, encoder_iters=0),
        "none",
        PAPER_SEARCH,
        features=None,
        is_protocol=True,
    ),
}
