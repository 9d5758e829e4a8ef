"""When training stops getting better, judged by made-up courses whose answer is known."""

import numpy as np
import pytest

from adgan_cli.engine.training.convergence import SEGMENTS, stagnation_share


def course(values: np.ndarray) -> list[tuple[int, float]]:
    return [(25 * (i + 1), float(value)) for i, value in enumerate(values)]


def test_too_few_checks_tell_nothing():
    assert stagnation_share(course(np.ones(2 * SEGMENTS - 1))) == 0


def test_what_falls_to_the_end_is_at_its_best_now():
    assert stagnation_share(course(np.linspace(1, 0, 200))) == 0


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_course_that_turns_tells_when_it_turned(share):
    turn = int(200 * (1 - share))
    values = np.concatenate([np.linspace(1, 0, turn), np.linspace(0, 0.5, 200 - turn)])
    assert stagnation_share(course(values)) == pytest.approx(share, abs=1 / SEGMENTS + 1e-9)


def test_the_rise_while_a_critic_learns_what_to_look_at_does_not_count():
    values = np.concatenate([np.linspace(0, 9, 40), np.linspace(9, 3, 160)])
    assert stagnation_share(course(values)) == 0


def test_noise_does_not_hide_a_fall():
    noisy = np.linspace(2, 0, 400) + np.random.default_rng(0).normal(0, 0.2, 400)
    assert stagnation_share(course(noisy)) <= 2 / SEGMENTS
