"""The autoencoders score by the formulas of section 4.2, and a score depends on its picture."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from adgan_cli.config import ModelConfig
from adgan_cli.engine.models.dcgan import Critic, Encoder, Generator
from adgan_cli.engine.training.objectives.autoencoding import kl_divergence
from adgan_cli.errors import ConfigError, DivergedError
from adgan_cli.evaluation.methods import autoencoders as module
from adgan_cli.evaluation.methods.autoencoders import (
    ELBO_SAMPLES,
    Dcae,
    Vae,
    cross_entropy,
    dcae_scores,
    train_autoencoder,
    trained_autoencoder,
    vae_scores,
)
from adgan_cli.evaluation.metrics import roc_auc
from adgan_cli.evaluation.settings import AutoencoderConfig, Settings
from adgan_cli.evaluation.task import Cell, NotApplicableError, Task, pixels_digest

CPU = torch.device("cpu")
TINY = AutoencoderConfig(iters=3, batch_size=4, latent_dim=8, width=4)
KINDS = [(Dcae, dcae_scores), (Vae, vae_scores)]
both = pytest.mark.parametrize("kind, scores", KINDS, ids=["dcae", "vae"])


def noise(count, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16, 16, channels), dtype=np.uint8)


def squares(count, first=4, seed=0):
    """White squares on black, their corner at `first` or up to two pixels further."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((count, 16, 16, 1), np.uint8)
    corners = rng.integers(first, first + 3, (count, 2))
    for picture, (top, left) in zip(pixels, corners, strict=True):
        picture[top : top + 6, left : left + 6] = 255
    return pixels


class Copier(nn.Module):
    """Stands for an autoencoder that has nothing left to learn."""

    def __init__(self, flaw=0.0):
        super().__init__()
        self.flaw = nn.Parameter(torch.tensor(flaw))

    def forward(self, x):
        return x + self.flaw


def test_a_perfect_copy_scores_zero():
    assert (dcae_scores(Copier(), noise(3)) == 0).all()


def test_the_dcae_scores_by_the_squared_error_summed_over_the_picture():
    expected = 0.5**2 * 16 * 16 * 3
    assert dcae_scores(Copier(0.5), noise(3, channels=3)) == pytest.approx([expected] * 3)


def test_cross_entropy_is_that_of_pixels_moved_to_the_unit_interval():
    chance = torch.tensor([0.5, 0.75, 0.1, 0.5]).view(1, 1, 2, 2)
    x = torch.tensor([1.0, -1.0, -1.0, 0.0]).view(1, 1, 2, 2)  # white, black, black, half
    by_hand = -math.log(0.5) - math.log(0.25) - math.log(0.9) - math.log(0.5)
    assert cross_entropy(chance.logit(), x).tolist() == pytest.approx([by_hand])


def test_a_pixel_that_cannot_be_is_far_off_and_not_infinitely_so():
    white, black = torch.full((1, 1, 1, 1), 1.0), torch.full((1, 1, 1, 1), -1.0)
    assert cross_entropy(500 * black, white).tolist() == [500.0]
    assert cross_entropy(500 * white, white).tolist() == [0.0]


def test_the_vaes_chances_are_the_generators_pixels_moved_to_the_unit_interval():
    network = train_autoencoder(Vae, noise(6), TINY, device=CPU).network
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.logits(z).sigmoid(), (network.decoder(z) + 1) / 2)


def test_the_vae_scores_by_the_mean_of_its_terms_over_eight_samples():
    network = train_autoencoder(Vae, noise(6), TINY, device=CPU).network
    pixels, seed = noise(3, seed=1), 5
    noises = torch.randn(ELBO_SAMPLES, 8, generator=torch.Generator().manual_seed(seed))
    expected = []
    for picture in pixels:
        x = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
        terms = []
        for one in noises:
            logits, mean, log_var = network(x, one[None])
            terms.append((cross_entropy(logits, x) + kl_divergence(mean, log_var)).item())
        expected.append(np.mean(terms))
    assert vae_scores(network, pixels, seed=seed) == pytest.approx(expected, rel=1e-5)
    assert not np.allclose(vae_scores(network, pixels, seed=6), expected, rtol=1e-7)


def test_the_elbo_bounds_the_likelihood():
    """A decoder that ignores z has the likelihood in closed form: -ELBO = that + KL, above it."""
    network = Vae(ModelConfig(16, 1, 8, 4)).eval()
    nn.init.zeros_(network.decoder.ups[-1].weight)  # every pixel's chance is a half
    pixels = noise(4)
    likelihood = 16 * 16 * math.log(2)
    scores = vae_scores(network, pixels)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        kl = kl_divergence(*network.encoder(x).chunk(2, 1)).numpy()
    assert (scores > likelihood).all()
    assert scores == pytest.approx(likelihood + kl, rel=1e-6)


@pytest.mark.parametrize("size, channels", [(16, 1), (32, 3), (64, 3)])
def test_encoder_and_decoder_are_mirror_images(size, channels):
    shape = ModelConfig(size, channels, 8, 4)
    encoder = Encoder(shape, 8).eval()
    assert encoder(torch.zeros(2, channels, size, size)).shape == (2, 8)
    down = [m.weight.shape for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    up = [m.weight.shape for m in Generator(shape).modules() if isinstance(m, nn.ConvTranspose2d)]
    assert down == up[::-1]
    norms = [m.num_features for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [weight[0] for weight in down[:-1]], "one after each layer but the last"
    critic = [m.weight.shape for m in Critic(shape, batch_norm=True).body if hasattr(m, "stride")]
    assert down[:-1] == critic


@both
def test_a_score_depends_on_the_picture_alone(kind, scores):
    network = train_autoencoder(kind, noise(20), TINY, device=CPU).network
    pixels = noise(7, seed=1)
    together = scores(network, pixels)
    order = [4, 0, 6, 2, 5, 1, 3]
    assert scores(network, pixels[order]) == pytest.approx(together[order], rel=1e-5)
    assert scores(network, pixels, 3) == pytest.approx(together, rel=1e-5)
    alone = [scores(network, pixels[i : i + 1])[0] for i in range(7)]
    assert alone == pytest.approx(together, rel=1e-5)


@both
def test_scoring_is_in_eval_mode_and_repeats_itself(kind, scores):
    network, pixels = train_autoencoder(kind, noise(20), TINY, device=CPU).network, noise(5, seed=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = scores(network.train(), pixels)
    assert first.dtype == np.float64 and first.shape == (5,)
    assert (scores(network, pixels) == first).all()
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


@both
def test_equal_settings_train_equal_networks(kind, scores):
    config = AutoencoderConfig(iters=4, batch_size=4, latent_dim=8, width=4, seed=3)
    one, two = (train_autoencoder(kind, squares(9), config, device=CPU) for _ in range(2))
    weights = two.network.state_dict()
    assert all(torch.equal(t, weights[n]) for n, t in one.network.state_dict().items())
    other = train_autoencoder(
        kind, squares(9), AutoencoderConfig(**{**vars(config), "seed": 4}), device=CPU
    )
    assert (scores(other.network, noise(2)) != scores(one.network, noise(2))).all()


@both
def test_training_lowers_the_loss_and_tells_normal_from_odd(kind, scores):
    losses = []
    config = AutoencoderConfig(iters=150, batch_size=16, latent_dim=8, width=4)
    trained = train_autoencoder(
        kind, squares(64), config, device=CPU, on_step=lambda step, loss: losses.append(loss)
    )
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 2
    test = np.concatenate([squares(20, seed=1), squares(20, first=0, seed=2)])  # in a corner
    assert roc_auc([False] * 20 + [True] * 20, scores(trained.network, test)) > 0.95


def cell(tmp_path, config=TINY, *, train=None, **settings):
    train = noise(6) if train is None else train
    task = Task(train, noise(3, seed=1), train[:0], np.zeros(0, bool), seed=0)
    return Cell(task, tmp_path, Settings(autoencoder=config, **settings))


@both
def test_what_is_kept_scores_the_same(kind, scores, tmp_path, monkeypatch):
    trained = trained_autoencoder(kind, cell(tmp_path))
    monkeypatch.setattr(module, "train_autoencoder", None)
    again = trained_autoencoder(kind, cell(tmp_path))
    assert (scores(again.network, noise(3)) == scores(trained.network, noise(3))).all()
    assert (again.steps, again.seconds) == (3, trained.seconds)
    assert not again.network.training


@pytest.mark.parametrize("change", ["images", "config", "clock", "file"])
def test_what_is_kept_of_another_training_is_trained_anew(change, tmp_path, monkeypatch):
    trained_autoencoder(Dcae, cell(tmp_path, max_seconds=0.0 if change == "clock" else math.inf))
    calls = []
    monkeypatch.setattr(
        module, "train_autoencoder", lambda *a, **k: calls.append(1) or train_autoencoder(*a, **k)
    )
    if change == "images":
        other = cell(tmp_path, train=noise(6, seed=2))
    elif change == "config":
        other = cell(tmp_path, replace(TINY, seed=1))
    else:
        other = cell(tmp_path)
    if change == "file":
        path = tmp_path / "dcae.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
    assert trained_autoencoder(Dcae, other).steps == 3
    assert calls == [1]


def test_a_digest_knows_pictures_their_order_and_their_shape():
    pixels = noise(4)
    assert pixels_digest(pixels) == pixels_digest(pixels.copy())
    others = [pixels[::-1], pixels[:3], pixels.reshape(2, 32, 16, 1), pixels + np.uint8(1)]
    assert len({pixels_digest(p) for p in [pixels, *others]}) == 5


@both
def test_training_ends_when_its_time_is_up_and_counts_its_steps(kind, scores):
    config = AutoencoderConfig(iters=10**6, batch_size=4, latent_dim=8, width=4)
    assert train_autoencoder(kind, noise(6), config, device=CPU, max_seconds=0).steps == 1


def test_fewer_pictures_than_a_batch_will_do():
    assert train_autoencoder(Dcae, noise(1), TINY, device=CPU).steps == 3


def test_a_loss_that_is_no_number_ends_training():
    config = AutoencoderConfig(iters=20, batch_size=4, latent_dim=8, width=4, lr=1e30)
    with pytest.raises(DivergedError, match="vae diverged at step"):
        train_autoencoder(Vae, noise(6), config, device=CPU)


def test_a_score_that_is_no_number_is_not_given_out():
    with pytest.raises(NotApplicableError, match="3 of 3"):
        dcae_scores(Copier(math.nan), noise(3))


@pytest.mark.parametrize(
    "wrong", [{"iters": 0}, {"batch_size": 1}, {"lr": 0.0}, {"seed": -1}, {"latent_dim": 0}]
)
def test_settings_that_cannot_be_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=name.replace("_", ".")):
        AutoencoderConfig(**wrong)


def test_without_pictures_there_are_no_scores():
    assert dcae_scores(Dcae(ModelConfig(16, 1, 8, 4)), noise(0)).shape == (0,)
