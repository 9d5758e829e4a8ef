"""The autoencoders score by the formulas of section 4.2, and a score depends on its picture."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from adgan_cli.config import ModelConfig
from adgan_cli.engine.models.dcgan import Critic, Generator
from adgan_cli.errors import ConfigError, DivergedError, ModelFileError
from adgan_cli.evaluation.autoencoders import (
    ELBO_SAMPLES,
    Dcae,
    Encoder,
    Vae,
    cross_entropy,
    dcae_scores,
    kl_divergence,
    load_dcae,
    load_vae,
    pictures_digest,
    save_autoencoder,
    train_dcae,
    train_vae,
    vae_scores,
)
from adgan_cli.evaluation.metrics import roc_auc
from adgan_cli.evaluation.settings import AutoencoderConfig
from adgan_cli.evaluation.task import NotApplicableError

CPU = torch.device("cpu")
TINY = AutoencoderConfig(iters=3, batch_size=4, latent_dim=8, width=4)
KINDS = [(train_dcae, dcae_scores, load_dcae), (train_vae, vae_scores, load_vae)]
both = pytest.mark.parametrize("train, scores, load", KINDS, ids=["dcae", "vae"])


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


class GeneratorBank(nn.Module):
    """Stands for an autoencoder that has nothing left to learn."""

    def __init__(self, flaw=0.0):
        super().__init__()
        self.flaw = nn.Parameter(torch.tensor(flaw))

    def forward(self, x):
        return x + self.flaw


def test_a_perfect_copy_scores_zero():
    assert (dcae_scores(GeneratorBank(), noise(3)) == 0).all()


def test_the_dcae_scores_by_the_squared_error_summed_over_the_picture():
    expected = 0.5**2 * 16 * 16 * 3
    assert dcae_scores(GeneratorBank(0.5), noise(3, channels=3)) == pytest.approx([expected] * 3)


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
    network = train_vae(noise(6), TINY, device=CPU).network
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.logits(z).sigmoid(), (network.decoder(z) + 1) / 2)


def test_kl_divergence_equals_that_of_torch():
    rng = torch.Generator().manual_seed(0)
    mean, log_var = torch.randn(2, 5, 8, generator=rng)
    q = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    p = torch.distributions.Normal(torch.zeros(8), torch.ones(8))
    expected = torch.distributions.kl_divergence(q, p).sum(1)
    torch.testing.assert_close(kl_divergence(mean, log_var), expected)
    assert kl_divergence(torch.zeros(1, 8), torch.zeros(1, 8)).tolist() == [0.0]
    assert kl_divergence(torch.full((1, 8), 2.0), torch.zeros(1, 8)).tolist() == [16.0]


def test_the_vae_scores_by_the_mean_of_its_terms_over_eight_samples():
    network = train_vae(noise(6), TINY, device=CPU).network
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
def test_a_score_depends_on_the_picture_alone(train, scores, load):
    network = train(noise(20), TINY, device=CPU).network
    pixels = noise(7, seed=1)
    group_by_shared_model = scores(network, pixels)
    order = [4, 0, 6, 2, 5, 1, 3]
    assert scores(network, pixels[order]) == pytest.approx(group_by_shared_model[order], rel=1e-5)
    assert scores(network, pixels, 3) == pytest.approx(group_by_shared_model, rel=1e-5)
    alone = [scores(network, pixels[i : i + 1])[0] for i in range(7)]
    assert alone == pytest.approx(group_by_shared_model, rel=1e-5)


@both
def test_scoring_is_in_eval_mode_and_repeats_itself(train, scores, load):
    network, pixels = train(noise(20), TINY, device=CPU).network, noise(5, seed=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = scores(network.train(), pixels)
    assert first.dtype == np.float64 and first.shape == (5,)
    assert (scores(network, pixels) == first).all()
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


@both
def test_equal_settings_train_equal_networks(train, scores, load):
    config = AutoencoderConfig(iters=4, batch_size=4, latent_dim=8, width=4, seed=3)
    one, two = (train(squares(9), config, device=CPU) for _ in range(2))
    weights = two.network.state_dict()
    assert all(torch.equal(t, weights[n]) for n, t in one.network.state_dict().items())
    other = train(squares(9), AutoencoderConfig(**{**vars(config), "seed": 4}), device=CPU)
    assert (scores(other.network, noise(2)) != scores(one.network, noise(2))).all()


@both
def test_training_lowers_the_loss_and_tells_normal_from_odd(train, scores, load):
    losses = []
    config = AutoencoderConfig(iters=150, batch_size=16, latent_dim=8, width=4)
    trained = train(squares(64), config, device=CPU, on_step=lambda step: losses.append(step.loss))
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 2
    test = np.concatenate([squares(20, seed=1), squares(20, first=0, seed=2)])  # in a corner
    assert roc_auc([False] * 20 + [True] * 20, scores(trained.network, test)) > 0.95


@both
def test_saved_and_loaded_it_scores_the_same_and_saves_the_same_bytes(
    train, scores, load, tmp_path
):
    trained = train(noise(6), TINY, device=CPU)
    save_autoencoder(trained, tmp_path / "a" / "one.safetensors")
    again = load(tmp_path / "a" / "one.safetensors", CPU)
    assert (scores(again.network, noise(3)) == scores(trained.network, noise(3))).all()
    assert (again.config, again.steps, again.seconds) == (TINY, 3, trained.seconds)
    assert again.digest == pictures_digest(noise(6))
    assert not again.network.training
    save_autoencoder(again, tmp_path / "two.safetensors")
    first = (tmp_path / "a" / "one.safetensors").read_bytes()
    assert (tmp_path / "two.safetensors").read_bytes() == first


def test_a_file_that_does_not_hold_is_refused_by_name(tmp_path):
    path = tmp_path / "one.safetensors"
    save_autoencoder(train_dcae(noise(6), TINY, device=CPU), path)
    with pytest.raises(ModelFileError, match=r"one.safetensors is a dcae, not a vae"):
        load_vae(path, CPU)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'\\"steps\\":3', b'\\"stops\\":3'))
    with pytest.raises(ModelFileError, match=r"one.safetensors is corrupt.*steps"):
        load_dcae(path, CPU)
    path.write_bytes(data.replace(b'\\"latent_dim\\":8', b'\\"latent_dim\\":9'))
    with pytest.raises(ModelFileError, match=r"one.safetensors: decoder.first.weight"):
        load_dcae(path, CPU)
    path.write_bytes(data[:-100])
    with pytest.raises(ModelFileError, match="truncated"):
        load_dcae(path, CPU)


def test_a_digest_knows_pictures_their_order_and_their_shape():
    pixels = noise(4)
    assert pictures_digest(pixels) == pictures_digest(pixels.copy())
    others = [pixels[::-1], pixels[:3], pixels.reshape(2, 32, 16, 1), pixels + np.uint8(1)]
    assert len({pictures_digest(p) for p in [pixels, *others]}) == 5


@both
def test_training_ends_when_told_to_and_says_after_how_many_steps(train, scores, load):
    config = AutoencoderConfig(iters=10**6, batch_size=4, latent_dim=8, width=4)
    assert train(noise(6), config, device=CPU, max_seconds=0).steps == 1
    told = []
    ended = train(
        noise(6), config, device=CPU, on_step=told.append, should_stop=lambda: len(told) == 3
    )
    assert ended.steps == 3 and [step.step for step in told] == [1, 2, 3]
    assert ended.network.training is False


def test_fewer_pictures_than_a_batch_will_do():
    assert train_dcae(noise(1), TINY, device=CPU).steps == 3


def test_a_loss_that_is_no_number_ends_training():
    config = AutoencoderConfig(iters=20, batch_size=4, latent_dim=8, width=4, lr=1e30)
    with pytest.raises(DivergedError, match="vae diverged at step"):
        train_vae(noise(6), config, device=CPU)


def test_a_score_that_is_no_number_is_not_given_out():
    with pytest.raises(NotApplicableError, match="3 of 3"):
        dcae_scores(GeneratorBank(math.nan), noise(3))


@pytest.mark.parametrize(
    "wrong", [{"iters": 0}, {"batch_size": 1}, {"lr": 0.0}, {"seed": -1}, {"latent_dim": 0}]
)
def test_settings_that_cannot_be_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=name.replace("_", ".")):
        AutoencoderConfig(**wrong)


def test_without_pictures_there_are_no_scores():
    assert dcae_scores(Dcae(ModelConfig(16, 1, 8, 4)), noise(0)).shape == (0,)
