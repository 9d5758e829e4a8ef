"""The settings of each stage: what is trained, how, and how pictures are scored.

Frozen, validated when made, and stored with the model as JSON. Every field is a command-line
option of the same name with dashes. No torch in here.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from adgan_cli.errors import ConfigError

SIZES = (16, 32, 64, 128, 256)  # DCGAN doubles from 4 x 4
OBJECTIVES = ("wgan", "wgan-gp", "gan", "gan-saturating", "lsgan", "mmd", "vae", "glo")
MAX_FACTOR = 8  # feature maps stop doubling at 8 x width, as at 64 pixels; 256 would need 32 x
FITS = ("crop", "pad", "squash")
THETAS = ("per-point", "per-image", "none")
INITS = ("prior", "encoder", "both")
LOSSES = ("l2", "relative", "l1", "laplacian", "ssim", "gradient", "critic-features")
ADJUSTS = ("none", "complexity")
SEED_LIMIT = 2**63  # what torch.Generator takes

Config = TypeVar("Config", "ReadConfig", "ModelConfig", "TrainConfig", "SearchConfig")


@dataclass(frozen=True)
class ReadConfig:
    """How a picture of any shape becomes a square: the same in training and in scoring."""

    fit: str = "crop"  # crop: centre of the shorter side; pad: all of it, with bars; squash
    alpha: str = "white"  # lies behind transparency and in the bars; drop ignores transparency

    def __post_init__(self) -> None:
        _check(self.fit in FITS, "fit", f"one of {', '.join(FITS)}", self.fit)
        named = self.alpha in ("white", "black", "drop")
        fine = named or re.fullmatch(r"#[0-9a-fA-F]{6}", self.alpha)
        _check(bool(fine), "alpha", "white, black, drop or a colour like #8090a0", self.alpha)


@dataclass(frozen=True)
class ModelConfig:
    """The shape of generator and critic."""

    size: int = 64  # pixels; pictures are squares of this side
    channels: int = 3  # 1 grey, 3 RGB
    latent_dim: int = 32  # d'; the paper takes 256, section 4.2, after Metz et al. (2016)
    width: int = 64  # feature maps of the layer next to the picture, DCGAN's ngf and ndf

    def __post_init__(self) -> None:
        _check(self.size in SIZES, "size", f"one of {', '.join(map(str, SIZES))}", self.size)
        _check(self.channels in (1, 3), "channels", "1 (grey) or 3 (RGB)", self.channels)
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
    """How the generator is trained. Two runs with equal settings and pictures are equal."""

    objective: str = "gan"
    iters: int = 20_000  # generator steps
    batch_size: int = 64  # reference WGAN
    critic_steps: int = 5  # n_critic; WGAN and WGAN-GP, Algorithm 1 of each; others take one
    clip: float = 0.01  # c of WGAN, Arjovsky et al. (2017), Algorithm 1; only `wgan`
    penalty: float = 10.0  # lambda of WGAN-GP, Gulrajani et al. (2017); only `wgan-gp`
    ema: float = 0.999  # decay of the averaged generator, the one that is saved; 0 saves the last
    flip: bool = False  # mirror pictures at random: right for rooms, wrong for digits
    holdout: float = 0.1  # share of the pictures that is not trained on, to judge and calibrate by
    patience: float = 0.0  # share of the steps so far without improvement that is enough; 0: go on
    encoder_iters: int = 1000  # steps of an encoder afterwards, where the search starts; section 5
    seed: int = 0

    def __post_init__(self) -> None:
        known = f"one of {', '.join(OBJECTIVES)}"
        _check(self.objective in OBJECTIVES, "objective", known, self.objective)
        _check_count("iters", self.iters, 10**9)
        fine = 2 <= self.batch_size <= 65_536
        _check(fine, "batch_size", "2 (batch norm) to 65536", self.batch_size)
        _check_count("critic_steps", self.critic_steps, 10_000)
        _check(0 < self.clip < math.inf, "clip", "above 0", self.clip)
        _check(0 < self.penalty < math.inf, "penalty", "above 0", self.penalty)
        _check(0 <= self.ema < 1, "ema", "at least 0 and below 1", self.ema)
        _check(0 <= self.holdout < 1, "holdout", "at least 0 and below 1", self.holdout)
        _check(0 <= self.patience < 1, "patience", "at least 0 and below 1", self.patience)
        fine = 0 <= self.encoder_iters <= 10**9
        _check(fine, "encoder_iters", "0 (none) to 1000000000", self.encoder_iters)
        with_verdict = self.holdout > 0 or not self.patience
        _check(
            with_verdict,
            "patience",
            "0 where --holdout 0 leaves nothing to judge by",
            self.patience,
        )
        _check_seed(self.seed)


@dataclass(frozen=True)
class SearchConfig:
    """Algorithm 1: the search for each picture in the generator's latent space."""

    n_seed: int = 3  # starting points; 8 in section 4.2
    init: str = "both"  # where they come from; encoder: one alone; both: one more than n_seed
    k: int = 5  # steps from each of them, section 4.2
    reduce: str = "mean"  # of the losses of a picture's starting points, line 8; or min
    lr_z: float = 0.25  # gamma, footnote 5
    lr_decay: float = 1.0  # what both step sizes are multiplied with after each step
    z_radius: float = 0.1  # how far |z| may be from its expected sqrt(d'), a share; 0: anywhere
    lr_theta: float = 5e-5  # gamma_theta, footnote 5; 0 keeps the generator as trained
    theta: str = "none"  # who has a copy of theta that moves; none: nobody, much faster
    precision: str = "fp32"  # bf16: half the time where nothing but z moves
    loss: str = "ssim+gradient+relative"  # a weighted sum of LOSSES; l2 in section 4.2
    seed: int = 0  # of the starting points
    adjust: str = "none"  # what is taken out of the finished score; complexity: see scoring/adjust

    def __post_init__(self) -> None:
        _check_count("n_seed", self.n_seed, 65_536)
        _check(self.init in INITS, "init", f"one of {', '.join(INITS)}", self.init)
        _check(self.k >= 0, "k", "at least 0", self.k)
        _check(0 <= self.lr_z < math.inf, "lr_z", "at least 0", self.lr_z)
        _check(0 <= self.lr_theta < math.inf, "lr_theta", "at least 0", self.lr_theta)
        _check(self.theta in THETAS, "theta", f"one of {', '.join(THETAS)}", self.theta)
        _check(self.reduce in ("mean", "min"), "reduce", "mean or min", self.reduce)
        _check(0 < self.lr_decay <= 1, "lr_decay", "above 0, at most 1", self.lr_decay)
        _check(0 <= self.z_radius < math.inf, "z_radius", "at least 0", self.z_radius)
        _check(self.precision in ("fp32", "bf16"), "precision", "fp32 or bf16", self.precision)
        fine = self.precision == "fp32" or not self.moves_theta
        # 8 bits of a weight of 0.02 are steps of 6e-5: those of theta would be lost
        _check(fine, "precision", "fp32 unless --theta none", self.precision)
        allowed = f"one of {', '.join(LOSSES)}, or a sum like l2+0.5*ssim"
        _check(bool(loss_terms(self.loss)), "loss", allowed, self.loss)
        _check(self.adjust in ADJUSTS, "adjust", f"one of {', '.join(ADJUSTS)}", self.adjust)
        _check_seed(self.seed)

    @property
    def points(self) -> int:
        """How many searches there are for a picture."""
        return {"prior": self.n_seed, "encoder": 1, "both": self.n_seed + 1}[self.init]

    @property
    def moves_theta(self) -> bool:
        """Whether line 5 of Algorithm 1 does anything."""
        return self.theta != "none" and self.lr_theta > 0


def loss_terms(text: str) -> list[tuple[float, str]]:
    """Weight and name of each term of --loss, `l2+0.5*ssim`; empty if it is not like that."""
    terms = []
    for term in text.split("+"):
        match = re.fullmatch(r"\s*(?:(\d*\.?\d+)\s*\*)?\s*([a-z0-9-]+)\s*", term)
        if not match or match[2] not in LOSSES or float(match[1] or 1) == 0:
            return []
        terms.append((float(match[1] or 1), match[2]))
    return terms


def to_dict(config: Any) -> dict[str, Any]:
    """The settings as plain JSON values, one key a field."""
    return asdict(config)


def from_dict(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """Build `kind` from what to_dict gave.

    Raises ConfigError when a field is missing, unknown or of another type.
    """
    known: dict[str, type[Any]] = {f.name: type(f.default) for f in fields(kind)}
    if set(values) != set(known):
        odd = ", ".join(sorted(set(values) ^ set(known)))
        raise ConfigError(f"{kind.__name__} has other fields here: {odd}")
    for name, wanted in known.items():
        got = values[name]
        whole_float = wanted is float and type(got) is int  # JSON has one kind of number
        if type(got) is not wanted and not whole_float:
            raise ConfigError(f"{name} must be {wanted.__name__}, got {got!r}")
    return kind(**{name: wanted(values[name]) for name, wanted in known.items()})


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def first_difference(
    then: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[str, str, str] | None:
    """The first name that two sets of plain values differ in, with both values as text."""
    for name in {**now, **then}:
        was, is_ = (json.dumps(values.get(name), sort_keys=True) for values in (then, now))
        if was != is_:
            was, is_ = (text.strip('"') for text in (was, is_))
            if len(was) == len(is_) == 64:  # digests, as they are shown elsewhere
                was, is_ = was[:12], is_[:12]
            return name, was, is_
    return None


def flag(field: str) -> str:
    """The command-line option of a field: lr_theta -> --lr-theta."""
    return "--" + field.replace("_", "-")


def _check(fine: bool, field: str, allowed: str, got: object) -> None:
    if not fine:
        raise ConfigError(f"{flag(field)} must be {allowed}, got {got}")


def _check_count(field: str, got: int, most: int) -> None:
    _check(1 <= got <= most, field, f"1 to {most}", got)


def _check_seed(got: int) -> None:
    _check(0 <= got < SEED_LIMIT, "seed", "at least 0 and below 2^63", got)


# The paper's search, section 4.2 and footnote 5. The defaults above tell digits and vehicles apart
# better, animals on plain ground worse, at a fraction of the cost (examples/results).
PAPER_SEARCH = SearchConfig(n_seed=8, init="prior", z_radius=0.0, theta="per-point", loss="l2")
SEARCHES = {"paper": PAPER_SEARCH, "tuned": SearchConfig()}  # --preset of score and rank


@dataclass(frozen=True)
class Preset:
    """A set of defaults for `train`; every option given beside it wins."""

    model: ModelConfig
    train: TrainConfig
    max_time: str  # as --max-time takes it
    search: SearchConfig = SearchConfig()  # the model's own


PRESETS = {
    # a first answer within minutes on a laptop
    "quick": Preset(ModelConfig(size=32), TrainConfig(iters=5000), "10m"),
    "default": Preset(ModelConfig(), TrainConfig(), "30m"),
    # weight clipping on the reference schedule, the last generator, as long as it takes
    "paper": Preset(
        ModelConfig(latent_dim=256),
        TrainConfig(objective="wgan", ema=0.0, encoder_iters=0),
        "none",
        PAPER_SEARCH,
    ),
}
