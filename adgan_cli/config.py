"""The settings of each stage: what is trained, how, and how images are scored.

Frozen, validated when created, and stored with the model as JSON. Each field carries its help, its
choices (a Literal) and its group, and so is a command-line option of the same name with dashes.
No torch in here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

from adgan_cli.errors import ConfigError

Fit = Literal["crop", "pad", "squash"]
Size = Literal[16, 32, 64, 128, 256]  # DCGAN doubles from 4 x 4
Channels = Literal[1, 3]
Objective = Literal["wgan", "wgan-gp", "gan", "gan-saturating", "lsgan", "mmd", "vae", "glo"]
Init = Literal["prior", "encoder", "both"]
Theta = Literal["per-point", "per-image", "none"]
Reduce = Literal["mean", "min"]
Precision = Literal["auto", "fp32", "tf32", "bf16"]
Adjust = Literal["none", "complexity"]
Loss = Literal[
    "l2", "relative", "l1", "laplacian", "ssim", "gradient", "critic-features", "features"
]
By = Literal["reconstruction", "features", "all"]

# groups of options
MODEL, TRAINING, FEATURES, SEARCH, PICTURES = "Model", "Training", "Features", "Search", "Pictures"
SIZES: tuple[int, ...] = get_args(Size)
OBJECTIVES: tuple[str, ...] = get_args(Objective)
LOSSES: tuple[str, ...] = get_args(Loss)
MAX_FACTOR = 8  # feature maps stop doubling at 8 x width, as at 64 pixels; 256 would need 32 x
SEED_LIMIT = 2**63  # what torch.Generator takes
# of step sizes, radii and weights: float32 carries it through a step, squared and summed too
MAX_FLOAT = 1e6

Config = TypeVar(
    "Config", "ReadConfig", "ModelConfig", "TrainConfig", "FeatureConfig", "SearchConfig"
)
Value = TypeVar("Value")


def option(default: Value, group: str, help: str, *, short: str = "") -> Value:
    """Declare a field that is a command-line option too, in the panel `group` of --help."""
    return field(default=default, metadata={"group": group, "help": help, "short": short})


@dataclass(frozen=True)
class ReadConfig:
    """How an image of any shape becomes a square: the same in training and in scoring."""

    fit: Fit = option("crop", PICTURES, "How images become square: cut, with bars, or distorted.")
    alpha: str = option(
        "white",
        PICTURES,
        "Colour of bars and behind transparency: white, black, #rrggbb; drop: ignore alpha.",
    )

    def __post_init__(self) -> None:
        _check_choices(self)
        is_valid = re.fullmatch(r"white|black|drop|#[0-9a-fA-F]{6}", self.alpha) is not None
        _check(is_valid, "alpha", "white, black, drop or a colour like #8090a0", self.alpha)


@dataclass(frozen=True)
class ModelConfig:
    """The shape of generator and critic."""

    size: Size = option(64, MODEL, "Side in pixels of the squares that images are scaled to.")
    channels: Channels = option(3, MODEL, "Colour channels: 1 (grey) or 3 (RGB).")
    # d'; the paper takes 256, section 4.2, after Metz et al. (2016)
    latent_dim: int = option(32, MODEL, "Dimensions of the space that images are generated from.")
    # DCGAN's ngf and ndf
    width: int = option(
        64, MODEL, "Feature maps next to the image; deeper layers have up to 8 times as many."
    )

    def __post_init__(self) -> None:
        _check(
            self.channels in get_args(Channels), "channels", "1 (grey) or 3 (RGB)", self.channels
        )
        _check_choices(self)
        _check_count("latent_dim", self.latent_dim, 65_536)
        _check_count("width", self.width, 1_024)

    def feature_maps(self) -> list[int]:
        """Feature maps at 4, 8, ... S / 2 pixels: 512, 256, 128, 64 at 64 pixels and width 64."""
        factors = [1]
        while 4 * 2 ** len(factors) < self.size:
            factors.append(min(2 * factors[-1], MAX_FACTOR))
        return [self.width * factor for factor in reversed(factors)]


@dataclass(frozen=True)
class TrainConfig:
    """How the generator is trained. Two runs with equal settings and images are equal."""

    objective: Objective = option(
        "gan",
        TRAINING,
        "What the generator is trained to minimise; vae and glo reconstruct images.",
    )
    iters: int = option(20_000, TRAINING, "Generator steps at most.")
    # that of the reference WGAN
    batch_size: int = option(64, TRAINING, "Images in each step.", short="-b")
    # n_critic; WGAN and WGAN-GP, Algorithm 1 of each; others take one
    critic_steps: int = option(
        5, TRAINING, "Critic steps before each generator step (wgan, wgan-gp)."
    )
    # c of WGAN, Arjovsky et al. (2017), Algorithm 1
    clip: float = option(0.01, TRAINING, "Largest absolute weight of the critic (wgan).")
    # lambda of WGAN-GP, Gulrajani et al. (2017)
    penalty: float = option(10.0, TRAINING, "Weight of the gradient penalty (wgan-gp).")
    ema: float = option(
        0.999,
        TRAINING,
        "Decay of the running mean of the weights, which is saved; 0: the last ones.",
    )
    flip: bool = option(
        False, TRAINING, "Mirror images at random: right for rooms, wrong for digits."
    )
    holdout: float = option(
        0.1, TRAINING, "Share of the images kept from training, for the verdict and p-values."
    )
    patience: float = option(
        0.0, TRAINING, "Stop when nothing improved for this share of the steps; 0: never."
    )
    # section 5
    encoder_iters: int = option(
        1000, TRAINING, "Steps of the encoder, which gives the search a start; 0: no encoder."
    )
    seed: int = option(0, TRAINING, "Seed of all random numbers in training.")

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_count("iters", self.iters, 10**9)
        is_valid = 2 <= self.batch_size <= 65_536
        _check(is_valid, "batch_size", "2 (batch norm) to 65536", self.batch_size)
        _check_count("critic_steps", self.critic_steps, 10_000)
        _check(0 < self.clip <= MAX_FLOAT, "clip", "above 0, at most 1e6", self.clip)
        _check(0 < self.penalty <= MAX_FLOAT, "penalty", "above 0, at most 1e6", self.penalty)
        _check(0 <= self.ema < 1, "ema", "at least 0 and below 1", self.ema)
        _check(0 <= self.holdout < 1, "holdout", "at least 0 and below 1", self.holdout)
        _check(0 <= self.patience < 1, "patience", "at least 0 and below 1", self.patience)
        is_valid = 0 <= self.encoder_iters <= 10**9
        _check(is_valid, "encoder_iters", "0 (none) to 1000000000", self.encoder_iters)
        is_valid = self.holdout > 0 or not self.patience
        nothing_held_out = "0 where --holdout 0 leaves nothing to judge by"
        _check(is_valid, "patience", nothing_held_out, self.patience)
        _check_seed(self.seed)

    @property
    def n_critic(self) -> int:
        """Critic steps before a generator step; 0 where the objective has no critic."""
        if self.objective in ("mmd", "vae", "glo"):
            return 0
        return self.critic_steps if self.objective in ("wgan", "wgan-gp") else 1


@dataclass(frozen=True)
class FeatureConfig:
    """What is learned from the images beside the generator, to compare others with them."""

    transform_iters: int = option(
        4000, FEATURES, "Steps of the network that learns how pictures were turned; 0: none."
    )
    backbone: str = ""  # pretrained, by its name in timm; its weights are named elsewhere

    def __post_init__(self) -> None:
        is_valid = 0 <= self.transform_iters <= 10**9
        _check(is_valid, "transform_iters", "0 (none) to 1000000000", self.transform_iters)


@dataclass(frozen=True)
class SearchConfig:
    """How images are scored: by what, and Algorithm 1, the search in the latent space."""

    by: By = option(
        "features", SEARCH, "Score by the reconstruction, by features, or by all of them joined."
    )

    # 8 in section 4.2
    n_seed: int = option(3, SEARCH, "Random starting points of the search for each image.")
    init: Init = option(
        "both", SEARCH, "Start at random points, at the one that the encoder gives, or both."
    )
    # section 4.2
    k: int = option(5, SEARCH, "Steps from each starting point.")
    # line 8 of Algorithm 1
    reduce: Reduce = option(
        "mean", SEARCH, "Score by the mean or the least loss of the starting points."
    )
    # gamma, footnote 5
    lr_z: float = option(0.25, SEARCH, "Step size of the latent vector.")
    lr_decay: float = option(1.0, SEARCH, "Factor by which step sizes shrink after each step.")
    z_radius: float = option(
        0.1, SEARCH, "Keep |z| within this share of sqrt(d'), where the prior has it; 0: anywhere."
    )
    # gamma_theta, footnote 5
    lr_theta: float = option(
        5e-5, SEARCH, "Step size of the generator's weights; 0: as --theta none."
    )
    theta: Theta = option(
        "none", SEARCH, "Let the generator's weights adapt for each point, image (faster), or not."
    )
    precision: Precision = option(
        "auto",
        SEARCH,
        "Numbers of the search; auto: tf32 on CUDA devices where --theta none, else fp32.",
    )
    # l2 in section 4.2
    loss: str = option(
        "ssim+gradient+relative",
        SEARCH,
        f"How images differ: {', '.join(LOSSES)}, or a sum like l2+0.5*ssim.",
    )
    seed: int = option(0, SEARCH, "Seed of the random starting points.")
    # applied to the finished score, see scoring/adjust
    adjust: Adjust = option(
        "none", SEARCH, "Take out what brightness, contrast and detail explain (complexity)."
    )

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_count("n_seed", self.n_seed, 65_536)
        _check(0 <= self.k <= 10**6, "k", "0 to 1000000", self.k)
        for name in ("lr_z", "lr_theta", "z_radius"):
            value = getattr(self, name)
            _check(0 <= value <= MAX_FLOAT, name, "at least 0, at most 1e6", value)
        _check(0 < self.lr_decay <= 1, "lr_decay", "above 0, at most 1", self.lr_decay)
        # 8 bits of a weight of 0.02 are steps of 6e-5: those of theta would be lost
        is_valid = self.precision in ("auto", "fp32") or not self.moves_theta
        _check(is_valid, "precision", "auto or fp32 unless --theta none", self.precision)
        allowed = f"one of {', '.join(LOSSES)}, or a sum like l2+0.5*ssim"
        _check(bool(loss_terms(self.loss)), "loss", allowed, self.loss)
        _check_seed(self.seed)

    @property
    def n_points(self) -> int:
        """Number of searches for each image, that from the encoder's guess included."""
        return {"prior": self.n_seed, "encoder": 1, "both": self.n_seed + 1}[self.init]

    @property
    def moves_theta(self) -> bool:
        """Whether line 5 of Algorithm 1 does anything."""
        return self.theta != "none" and self.lr_theta > 0


def comparable_precision(precision: Precision) -> Precision:
    """Return a precision that is equal where scores may be compared with each other's.

    Those in float32 and in TF32 agree to less than images of a kind differ by; those in bfloat16
    are compared with their like.
    """
    return precision if precision == "bf16" else "auto"


def loss_terms(text: str) -> list[tuple[float, str]]:
    """Split --loss, `l2+0.5*ssim`, into weights and names; empty if it is no such sum."""
    terms = []
    for term in text.split("+"):
        match = re.fullmatch(r"\s*(?:(\d*\.?\d+)\s*\*)?\s*([a-z0-9-]+)\s*", term)
        if not match or match[2] not in LOSSES or not 0 < float(match[1] or 1) <= MAX_FLOAT:
            return []
        terms.append((float(match[1] or 1), match[2]))
    return terms


def to_dict(config: Any) -> dict[str, Any]:
    """Return the settings as plain JSON values, one key a field."""
    return asdict(config)


def from_dict(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """Build a `kind` from the values of `to_dict`; ConfigError for fields that are not its own."""
    types: dict[str, type[Any]] = {f.name: type(f.default) for f in fields(kind)}
    if set(values) != set(types):
        odd = ", ".join(sorted(set(values) ^ set(types)))
        raise ConfigError(f"{kind.__name__} has other fields here: {odd}")
    for name, expected in types.items():
        got = values[name]
        whole_float = expected is float and type(got) is int  # JSON has one kind of number
        if type(got) is not expected and not whole_float:
            raise ConfigError(f"{name} must be {expected.__name__}, got {got!r}")
    try:
        return kind(**{name: expected(values[name]) for name, expected in types.items()})
    except OverflowError as error:  # an integer that no float holds
        raise ConfigError(f"{kind.__name__} holds a number without end") from error


def canonical_json(value: Any) -> str:
    """Write JSON with sorted keys and no spaces, so that equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def first_difference(
    previous: Mapping[str, Any], current: Mapping[str, Any]
) -> tuple[str, str, str] | None:
    """Find the first name that two sets of plain values differ in, with both values as text."""
    for name in {**current, **previous}:
        before = json.dumps(previous.get(name), sort_keys=True)
        after = json.dumps(current.get(name), sort_keys=True)
        if before != after:
            if len(before) == len(after) == 66:  # digests, quoted, as they are shown elsewhere
                return name, before[1:13], after[1:13]
            return name, before.strip('"'), after.strip('"')
    return None


def flag(field: str) -> str:
    """Name the command-line option of a field: lr_theta -> --lr-theta."""
    return "--" + field.replace("_", "-")


def _check(is_valid: bool, name: str, allowed: str, got: object) -> None:
    if not is_valid:
        raise ConfigError(f"{flag(name)} must be {allowed}, got {got}")


def _check_choices(config: Any) -> None:
    for one in fields(config):
        got, choices = getattr(config, one.name), get_args(one.type)
        if choices:
            _check(got in choices, one.name, f"one of {', '.join(map(str, choices))}", got)


def _check_count(name: str, got: int, most: int) -> None:
    _check(1 <= got <= most, name, f"1 to {most}", got)


def _check_seed(got: int) -> None:
    _check(0 <= got < SEED_LIMIT, "seed", "at least 0 and below 2^63", got)


# The paper's search, section 4.2 and footnote 5. The defaults above tell digits and vehicles apart
# better, animals on plain ground worse, at a fraction of the cost (examples/results).
PAPER_SEARCH = SearchConfig(
    by="reconstruction", n_seed=8, init="prior", z_radius=0.0, theta="per-point", loss="l2"
)
