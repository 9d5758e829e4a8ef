"""Fixtures of the whole suite: plain output, one thread, tiny images and models."""

import os
import signal

# before typer and rich are imported: no colours, no line breaks that depend on the machine
os.environ.update(TERM="dumb", TERMINAL_WIDTH="200", COLUMNS="200")
for name in ("ADGAN_MODEL", "ADGAN_DEVICE", "ADGAN_CACHE_LIMIT", "FORCE_COLOR", "PY_COLORS"):
    os.environ.pop(name, None)

from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402
from pretrained_networks import save_tiny_weights  # noqa: E402

from adgan_cli.config import PAPER_SEARCH, ModelConfig  # noqa: E402
from adgan_cli.engine.features.backbone import Backbone, load_backbone  # noqa: E402
from adgan_cli.engine.features.backbone_source import parse_backbone_source  # noqa: E402
from adgan_cli.engine.models.dcgan import Generator, init_weights  # noqa: E402
from adgan_cli.engine.models.files import save_model  # noqa: E402
from adgan_cli.engine.models.model import Model  # noqa: E402

# a shell starts background jobs with Ctrl-C ignored, and tests press it
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # so does nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

torch.set_num_threads(1)  # tiny work: a second thread costs more than it brings


def make_generator(
    size: int = 16, channels: int = 3, *, latent_dim: int = 8, width: int = 4, seed: int = 0
) -> Generator:
    """Make a random generator in eval mode, its batch norms as if after training."""
    rng = torch.Generator().manual_seed(seed)
    generator = Generator(ModelConfig(size, channels, latent_dim, width))
    init_weights(generator, rng)
    for weight in generator.parameters():
        weight.data.mul_(5)  # larger than DCGAN starts, so that the search has slopes to follow
    for norm in generator.norms:
        norm.running_mean.normal_(0.0, 0.2, generator=rng)
        norm.running_var.uniform_(0.5, 1.5, generator=rng)
    return generator.eval().requires_grad_(False)


def make_exploding_generator(size: int = 16, channels: int = 1) -> Generator:
    """Make one whose weights are numbers, and whose images are none: the sums overflow."""
    generator = make_generator(size, channels)
    for weight in generator.parameters():
        weight.data.mul_(1e30)
    return generator


def draw_disc(path: Path, index: int, *, size: int = 16, shape: str = "disc") -> None:
    """Draw a disc (or square, or upright bars) on black, a little different for each index."""
    rng = np.random.default_rng(index)
    image = Image.new("L", (4 * size, 4 * size))
    centre, radius = rng.uniform(1.7, 2.3, 2) * size, rng.uniform(0.9, 1.3) * size
    box = [*(centre - radius), *(centre + radius)]
    draw = ImageDraw.Draw(image)
    fill = int(rng.integers(180, 255))
    if shape == "bars":
        left, top, right, bottom = box
        for part in (0.0, 0.4, 0.8):
            x = left + part * (right - left)
            draw.rectangle([x, top, x + 0.2 * (right - left), bottom], fill=fill)
    else:
        (draw.ellipse if shape == "disc" else draw.rectangle)(box, fill=fill)
    image.resize((size, size), Image.Resampling.BOX).save(path)


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["ADGAN_CACHE_DIR"] = os.fspath(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def generator() -> Generator:
    return make_generator()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory: 16 pixels, grey, untrained."""
    folder = tmp_path_factory.mktemp("model")
    generator = make_generator(channels=1)
    save_model(Model(generator, generator.config, PAPER_SEARCH), folder)
    return folder


@pytest.fixture
def discs(tmp_path: Path) -> Callable[..., Path]:
    """discs(n, shape="disc", name="discs"): a folder of n generated grey images."""

    def make(count: int = 12, *, shape: str = "disc", name: str = "discs", size: int = 16) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            draw_disc(folder / f"{shape}-{index:03d}.png", index, size=size, shape=shape)
        return folder

    return make


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a tiny network of timm."""
    pytest.importorskip("huggingface_hub", reason="comes with timm")
    return save_tiny_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def backbone(weights_file: Path) -> Backbone:
    """The tiny network with these weights."""
    return load_backbone(parse_backbone_source(str(weights_file)))
