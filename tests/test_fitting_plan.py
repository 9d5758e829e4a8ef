"""Time is divided so that no part gets more than it can use, and none goes without."""

import math

import pytest

from adgan_cli.fitting.plan import (
    FEATURE_SHARE,
    MIN_CALIBRATED,
    MIN_ENCODER_STEPS,
    Costs,
    Work,
    affordable_images,
    affordable_steps,
    calibration_seconds,
    divide,
    plan_time,
)

COSTS = Costs(step=0.5, encoder_step=0.3, search=0.1, comparison=0.05, saving=4.0)
WORK = Work(20_000, encoder_steps=1000, held_out=300, compared=True, fitted=False)


def total(plan):
    return plan.features + plan.generator + plan.encoder + plan.calibration + plan.saving


def test_what_a_part_does_not_want_is_shared_by_the_others_in_proportion():
    shares = divide(100, {"a": 5, "b": 1000, "c": 1000}, {"a": 0.5, "b": 0.4, "c": 0.1})
    assert shares == pytest.approx({"a": 5, "b": 76, "c": 19})


def test_where_there_is_enough_each_gets_what_it_wants():
    wants = {"a": 5.0, "b": 10.0}
    assert divide(100, wants, {"a": 1, "b": 1}) == wants


def test_one_that_wants_without_end_gets_all_that_the_others_leave():
    shares = divide(60, {"a": math.inf, "b": 10}, {"a": 1, "b": 2})
    assert shares == pytest.approx({"a": 50, "b": 10})


def test_nothing_is_divided_into_nothing():
    assert divide(0, {"a": 1, "b": 2}, {"a": 1, "b": 1}) == {"a": 0, "b": 0}


@pytest.mark.parametrize("seconds", [40.0, 120.0, 1800.0])
def test_a_plan_takes_the_whole_time_and_no_more(seconds):
    plan = plan_time(seconds, COSTS, WORK)
    assert total(plan) == pytest.approx(seconds)
    least = calibration_seconds(MIN_CALIBRATED, COSTS)
    assert plan.features == pytest.approx(FEATURE_SHARE * (seconds - COSTS.saving - least))


def test_the_time_of_the_fewest_p_values_is_put_aside_before_anything_is_divided():
    for seconds in (15.0, 40.0):
        plan = plan_time(seconds, COSTS, WORK)
        least = min(seconds - COSTS.saving, calibration_seconds(MIN_CALIBRATED, COSTS))
        assert plan.calibration >= least and total(plan) == pytest.approx(seconds)


def test_a_plan_for_ample_time_asks_for_no_more_than_there_is_to_do():
    plan = plan_time(10**6, COSTS, WORK)
    assert (plan.steps, plan.encoder_steps, plan.calibrated) == (20_000, 1000, 300)
    assert plan.generator == 20_000 * COSTS.step
    assert plan.encoder == pytest.approx(1000 * COSTS.encoder_step)


def test_features_that_are_there_leave_their_time_to_the_others():
    fitted = plan_time(600, COSTS, Work(20_000, 1000, 300, compared=True))
    assert fitted.features == 0
    assert fitted.steps > plan_time(600, COSTS, WORK).steps


def test_the_encoder_shrinks_with_the_time_and_goes_before_it_is_of_no_use():
    steps = [plan_time(seconds, COSTS, WORK).encoder_steps for seconds in (60, 300, 1200, 20_000)]
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == 1000
    assert all(count == 0 or count >= MIN_ENCODER_STEPS for count in steps)


def test_the_time_of_an_encoder_that_is_not_worth_it_goes_to_the_others():
    few = plan_time(60, COSTS, WORK)
    assert few.encoder == 0 and total(few) == pytest.approx(60)


def test_a_short_encoder_that_was_asked_for_is_planned():
    plan = plan_time(60, COSTS, Work(20_000, encoder_steps=3))
    assert plan.encoder_steps == 3


def test_a_part_may_take_what_the_others_leave_though_less_is_expected_of_it():
    work = Work(0, encoder_steps=100, held_out=50)
    assert plan_time(1000, COSTS, work).encoder == pytest.approx(30)
    bounded = plan_time(1000, COSTS, work, "encoder")
    assert bounded.encoder == pytest.approx(1000 - COSTS.saving - bounded.calibration)
    assert bounded.calibration == pytest.approx(calibration_seconds(50, COSTS))


def test_saving_comes_first_and_no_part_gets_less_than_nothing():
    plan = plan_time(1.0, COSTS, WORK)
    assert plan.saving == COSTS.saving
    assert (plan.features, plan.generator, plan.encoder, plan.calibration) == (0, 0, 0, 0)
    assert plan.steps == 0


def test_pictures_for_p_values_are_fewer_where_time_is_short_and_never_none():
    counts = [affordable_images(seconds, COSTS, 300) for seconds in (-5, 0, 20, 40, 1000)]
    assert counts == sorted(counts) and counts[0] == counts[1] == MIN_CALIBRATED
    assert counts[-1] == 300 > counts[-2] > MIN_CALIBRATED
    assert affordable_images(0, COSTS, 7) == 7 and affordable_images(9, COSTS, 0) == 0


def test_the_pictures_that_are_affordable_take_no_longer_than_there_is():
    for seconds in (30, 50, 70):
        count = affordable_images(seconds, COSTS, 10_000)
        assert calibration_seconds(count, COSTS) <= seconds < calibration_seconds(count + 1, COSTS)


def test_altered_copies_count_only_where_features_are_joined_with_the_search():
    alone = Costs(search=0.1)
    assert calibration_seconds(300, alone) == pytest.approx(0.1 * 350)
    joined = Costs(search=0.1, comparison=0.01)
    assert calibration_seconds(300, joined) == pytest.approx(0.1 * (350 + 8 * 24) + 3)


def test_steps_are_counted_down():
    assert affordable_steps(10, 3, 100) == 3 and affordable_steps(10, 3, 2) == 2
    assert affordable_steps(10, 0.0, 5) == 5
