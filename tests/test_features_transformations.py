"""The network that tells how images were turned and shifted, and what its doubt says of them."""

import json

import numpy as np
import pytest
import torch

from adgan_cli.engine.features import transform_training as training
from adgan_cli.engine.features.transformations import (
    ANSWERS,
    SCORED,
    TRANSFORMATIONS,
    Transformations,
    transform,
    transformations_from,
)

CPU = torch.device("cpu")


def gradients(count: int, *, side: int = 16, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Images that are bright above and dark below, and have a dark spot in their midst."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(230, 20, side)[:, None, None] * rng.uniform(0.8, 1, (count, 1, 1, 1))
    images = ramp + rng.normal(0, 6, (count, side, side, channels))
    middle = slice(side * 3 // 8, side * 5 // 8)
    images[:, middle, middle] = rng.uniform(0, 40, (count, 1, 1, 1))
    return images.clip(0, 255).astype(np.uint8)


def new_state(images: np.ndarray, n_steps: int) -> training.TransformState:
    size, channels = images.shape[2:]
    return training.new_transform_state(
        size, channels, n_steps=n_steps, seed=3, device=CPU, width=4
    )


def trained(images: np.ndarray, n_steps: int) -> training.TransformState:
    state = new_state(images, n_steps)
    for _ in training.train_transformations(state, images):
        pass
    return state


@pytest.fixture(scope="module")
def detector() -> Transformations:
    return training.trained_detector(trained(gradients(64), 25), gradients(10, seed=1))


def test_shifts_and_turns_are_those_that_the_heads_are_asked_for():
    image = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    assert (transform(image, (1, 1, 0)) == image).all()
    assert (transform(image, (2, 1, 0))[:, :, 2:] == image[:, :, :-2]).all()  # to the right
    assert (transform(image, (1, 0, 0))[:, :-2] == image[:, 2:]).all()  # up
    assert (transform(image, (2, 1, 0))[:, :, 1] == image[:, :, 1]).all()  # reflected
    assert (transform(image, (1, 1, 1)) == np.rot90(image, axes=(1, 2))).all()
    assert len({*SCORED}) == 12 and {*SCORED} < {*TRANSFORMATIONS}
    for head, answers in enumerate(ANSWERS):  # a head is asked for each answer equally often
        assert np.ptp(np.bincount([one[head] for one in SCORED], minlength=answers)) == 0


def test_it_learns_how_gradients_were_turned_and_doubts_other_images(detector):
    _, down, turns = detector.accuracy
    assert turns > 0.6 and down > 0.6
    assert detector.is_useful
    normal = [detector.score(image) for image in gradients(10, seed=2)]
    other = [detector.score(np.rot90(image)) for image in gradients(10, seed=2)]
    assert min(other) > max(normal) >= min(normal) >= 0


def test_a_head_near_chance_counts_for_nothing():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (24, 16, 16, 3), np.uint8)  # alike however it is turned
    detector = training.trained_detector(trained(noise, 3), noise)
    assert not detector.is_useful and detector.counts == (False, False, False)
    assert detector.score(noise[0]) == 0
    by_turns = Transformations(detector.network, detector.accuracy, (False, False, True))
    everything = Transformations(detector.network, detector.accuracy, (True, True, True))
    assert 0 < by_turns.score(noise[0]) < everything.score(noise[0])


def test_training_resumed_ends_with_the_same_bytes(detector):
    images = gradients(64)
    whole = trained(images, 8)
    state = new_state(images, 8)
    for _ in training.train_transformations(state, images, should_stop=lambda: state.step == 3):
        pass
    assert state.step == 3
    settings = json.loads(json.dumps(training.checkpoint_settings(state)))
    state = training.state_from_checkpoint(settings, training.checkpoint_tensors(state), device=CPU)
    for _ in training.train_transformations(state, images):
        pass
    ends = training.checkpoint_tensors(state)
    assert training.checkpoint_settings(state) == training.checkpoint_settings(whole)
    for name, one in training.checkpoint_tensors(whole).items():
        assert torch.equal(one, ends[name]), name


def test_a_checkpoint_that_does_not_fit_is_refused():
    state = trained(gradients(8), 1)
    settings, tensors = training.checkpoint_settings(state), training.checkpoint_tensors(state)
    with pytest.raises(ValueError):
        training.state_from_checkpoint(settings | {"width": 5}, tensors, device=CPU)
    for step in (-1, 99):
        with pytest.raises(ValueError, match=f"^step {step} of "):
            training.state_from_checkpoint(settings | {"step": step}, tensors, device=CPU)
    flat = {"momentum/stem.0.weight": torch.zeros(4)}
    with pytest.raises(ValueError, match="a moment is"):
        training.state_from_checkpoint(settings, tensors | flat, device=CPU)
    with pytest.raises(KeyError):
        del tensors["exp_avg/heads.weight"]
        training.state_from_checkpoint(settings, tensors, device=CPU)


def test_steps_are_timed_on_a_copy():
    images = gradients(64)
    state = new_state(images, 100)
    before = training.checkpoint_tensors(state)
    assert training.affordable_steps(state, images, 1e9, 500) == 500
    assert training.affordable_steps(state, images, 0.0, 500) == training.MIN_STEPS
    after = training.checkpoint_tensors(state)
    assert before.keys() == after.keys() and state.step == 0
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_images_of_a_map_are_trained_on_by_their_index():
    images = gradients(8)
    order = np.array([5, 2, 7])
    state, other = new_state(images, 2), new_state(images, 2)
    mapped = training.train_transformations(state, images, indices=order)
    copied = training.train_transformations(other, images[order])
    assert [step.loss.item() for step in mapped] == [step.loss.item() for step in copied]


def test_a_score_does_not_depend_on_company(detector):
    images = gradients(3, seed=5)
    alone = detector.score(images[1])
    assert [detector.score(image) for image in images][1] == alone


@pytest.mark.parametrize("channels", [1, 3])
def test_constant_images_and_grey_ones_have_finite_scores(channels):
    images = np.full((2, 16, 16, channels), 128, np.uint8)
    detector = training.trained_detector(trained(images, 12), images)
    everything = Transformations(detector.network, detector.accuracy, (True, True, True))
    for image in (images[0], np.zeros_like(images[0]), np.full_like(images[0], 255)):
        assert np.isfinite(everything.score(image)) and np.isfinite(detector.score(image))
        assert np.isfinite(detector.features(image)).all()


def test_large_images_are_shrunk():
    images = gradients(4, side=128)
    detector = training.trained_detector(trained(images, 1), images)
    assert detector.network.side == 64
    assert np.isfinite(detector.score(images[0]))
    with pytest.raises(ValueError, match="reads 64 pixels"):
        detector.score(images[0, :32, :32])


def test_without_images_held_out_no_head_counts():
    images = gradients(4)
    assert not training.trained_detector(trained(images, 1), images[:0]).is_useful


def test_a_detector_is_rebuilt_from_its_tensors_bit_for_bit(detector):
    settings = json.loads(json.dumps(detector.settings()))
    again = transformations_from(settings, detector.tensors())
    for image in gradients(3, seed=7):
        assert again.score(image) == detector.score(image)
        assert (again.features(image) == detector.features(image)).all()
    for wrong in ({"counts": [True]}, {"side": 1000}, {"width": 5}):
        with pytest.raises(ValueError):
            transformations_from(settings | wrong, detector.tensors())


def test_features_kept_of_training_images_say_which_are_nearest(detector):
    images = gradients(5, seed=7)
    assert detector.reference_distances(images[0]) is None, "none are kept"
    kept = detector.with_references(images)
    for index, image in enumerate(images):
        distances = kept.reference_distances(image)
        assert distances is not None and distances.shape == (5,)
        assert distances.argmin() == index and abs(distances[index]) < 1e-3
    settings, tensors = json.loads(json.dumps(kept.settings())), kept.tensors()
    again = transformations_from(settings, tensors).reference_distances(images[1])
    assert (again == kept.reference_distances(images[1])).all()
    with pytest.raises(ValueError, match="references"):
        transformations_from(settings, tensors | {"references": tensors["references"][:, 1:]})
