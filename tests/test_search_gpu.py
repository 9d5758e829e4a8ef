"""The search on a CUDA device: the CPU's scores, to what each precision promises."""

import copy
from dataclasses import replace

import pytest
import torch
from conftest import make_generator
from searching import ForeignGenerator, random_images

from adgan_cli.config import PAPER_SEARCH, SearchConfig
from adgan_cli.engine.models.dcgan import Encoder, init_weights
from adgan_cli.engine.search import execution
from adgan_cli.engine.search.algorithm1 import starting_points
from adgan_cli.engine.search.memory import MAX_BATCH, default_batch
from adgan_cli.engine.search.searcher import Searcher, search

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

DEFAULT = SearchConfig(by="reconstruction", init="prior")
LATENT = replace(PAPER_SEARCH, theta="none")
PER_IMAGE = replace(PAPER_SEARCH, theta="per-image")
SEARCHES = {"paper": PAPER_SEARCH, "per-image": PER_IMAGE, "latent": LATENT, "default": DEFAULT}
# of scores against those in float32 on the CPU, relative; reference.md promises them
TOLERANCES = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}


@pytest.fixture
def generator():
    return make_generator(32, width=16)


@pytest.fixture
def there(generator):
    return copy.deepcopy(generator).cuda()


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("precision", TOLERANCES)
def test_scores_are_those_of_the_cpu_to_what_the_precision_promises(
    generator, there, name, precision
):
    config = SEARCHES[name]
    if config.moves_theta and precision != "fp32":
        pytest.skip("theta moves in float32 alone")
    if precision == "tf32" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this device has no TF32")
    x = random_images(5, 32)
    expected = search(generator, x, replace(config, precision="fp32")).score
    score = search(there, x, replace(config, precision=precision), batch_size=2).score
    torch.testing.assert_close(score, expected, rtol=TOLERANCES[precision], atol=0)


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0), reason="no TF32"
)
def test_auto_is_tf32_where_theta_stays_and_float32_where_it_moves(there):
    x = random_images(4, 32)
    for config, equal in ((LATENT, "tf32"), (DEFAULT, "tf32"), (PAPER_SEARCH, "fp32")):
        auto = search(there, x, config, batch_size=4).losses
        explicit = replace(config, precision=equal)
        assert torch.equal(search(there, x, explicit, batch_size=4).losses, auto)
    exact = search(there, x, replace(LATENT, precision="fp32"), batch_size=4).losses
    assert not torch.equal(exact, search(there, x, LATENT, batch_size=4).losses)


def test_what_others_set_for_their_products_makes_no_difference(there):
    x = random_images(2, 32)
    expected = search(there, x, PAPER_SEARCH, batch_size=2).losses
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        assert torch.equal(search(there, x, PAPER_SEARCH, batch_size=2).losses, expected)
        now = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        assert now == (True, True)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("name", SEARCHES)
def test_a_score_depends_neither_on_company_nor_on_order(there, name):
    x, config = random_images(5, 32), SEARCHES[name]
    together = search(there, x, config, batch_size=4).losses
    order = torch.tensor([4, 0, 2, 1, 3])
    assert torch.equal(search(there, x[order], config, batch_size=4).losses, together[order])
    alone = [search(there, x[i : i + 1], config, batch_size=4).losses for i in range(5)]
    assert torch.equal(torch.cat(alone), together)


def test_batches_of_other_sizes_differ_in_the_last_digits_at_most(there):
    x = random_images(6, 32)
    for config in (replace(DEFAULT, precision="fp32"), PAPER_SEARCH):
        few, many = (search(there, x, config, batch_size=size).score for size in (1, 6))
        torch.testing.assert_close(few, many, rtol=1e-3, atol=0)


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16"])
@pytest.mark.parametrize("name", SEARCHES)
def test_a_captured_search_equals_the_eager_one(there, monkeypatch, name, precision):
    config = SEARCHES[name]
    if config.moves_theta and precision == "bf16":
        pytest.skip("theta moves in float32 alone")
    monkeypatch.setattr(execution, "CAPTURE_AFTER", 1)
    searcher = Searcher(there, replace(config, precision=precision), batch_size=2)
    x = random_images(2, 32)
    eager = searcher(x)
    other = searcher(-x)
    assert searcher._execution.captured is not None and searcher.eager_reason is None
    captured = searcher(x)
    for field in ("score", "losses", "trace", "z", "reconstruction"):
        assert torch.equal(getattr(captured, field), getattr(eager, field)), field
    assert not torch.equal(other.losses, captured.losses)


@pytest.mark.parametrize("theta", ["per-point", "none"])
def test_an_encoders_point_is_captured_too(there, monkeypatch, theta):
    monkeypatch.setattr(execution, "CAPTURE_AFTER", 1)
    encoder = Encoder(there.config, 8)
    init_weights(encoder, torch.Generator().manual_seed(2))
    encoder = encoder.cuda().eval().requires_grad_(False)
    config = replace(PAPER_SEARCH, n_seed=2, theta=theta, init="both")
    searcher = Searcher(there, config, encoder=encoder, batch_size=2)
    x = random_images(2, 32)
    eager, _, captured = searcher(x).trace, searcher(-x), searcher(x).trace
    assert searcher.eager_reason is None
    assert torch.equal(captured, eager)


@pytest.mark.parametrize("theta", ["per-image", "none"])
def test_any_generator_is_captured(monkeypatch, theta):
    monkeypatch.setattr(execution, "CAPTURE_AFTER", 1)
    z0, x = starting_points(3, 8, seed=0), random_images(2)
    config = replace(PAPER_SEARCH, theta=theta, precision="fp32")
    searcher = Searcher(ForeignGenerator().cuda(), config, z0=z0, batch_size=2)
    eager, _, captured = searcher(x).trace, searcher(-x), searcher(x).trace
    assert searcher.eager_reason is None
    torch.testing.assert_close(captured, eager, rtol=1e-5, atol=0)


def test_the_batch_is_what_was_measured_to_fit(there):
    searcher = Searcher(there, PAPER_SEARCH)
    assert 1 <= searcher.batch_size <= MAX_BATCH
    assert searcher.batch_size & (searcher.batch_size - 1) == 0, "a power of two"
    assert default_batch(searcher.problem) == searcher.batch_size
    x = random_images(3, 32)
    expected = search(there, x, PAPER_SEARCH, batch_size=1).score
    torch.testing.assert_close(searcher(x).score, expected, rtol=1e-3, atol=0)


def test_a_batch_that_does_not_fit_is_halved_until_it_does(generator, there):
    x = random_images(3, 32)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    allowed = torch.cuda.memory_reserved() + 400 * 2**20
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    try:
        searcher = Searcher(there, PAPER_SEARCH, batch_size=4096)
        losses = searcher(x).losses
        assert searcher.batch_size < 4096
        size = searcher.batch_size
        assert torch.equal(searcher(x).losses, losses) and searcher.batch_size == size
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    expected = search(generator, x).losses
    torch.testing.assert_close(losses, expected, rtol=1e-3, atol=0)
