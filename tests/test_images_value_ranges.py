"""One range for a set of deep pictures, which single pixels cannot set and people can."""

import numpy as np
import pytest

from adgan_cli.errors import ConfigError
from adgan_cli.images.depth import Deep, ValueSpan, value_span
from adgan_cli.images.value_ranges import describe_ranges, find_ranges, parse_range, ranges_of


def waves(index: int, *, high: float = 1000) -> np.ndarray:
    y, x = np.mgrid[:32, :32] / 31
    wave = np.sin(3 * x + index) * np.cos(4 * y - index / 3)
    return ((0.5 + 0.5 * wave) * high).astype(np.uint16)


def found(images: dict[str, np.ndarray], kind: str = "I;16"):
    """The range of a set of images of one kind, which has to have one."""
    spans = [(name, kind, value_span(Deep(values, kind))) for name, values in images.items()]
    (only,) = find_ranges(spans)
    return only


@pytest.mark.parametrize("bad", [65535, 40_000, 1200])
def test_one_pixel_does_not_set_the_range_of_a_set(bad):
    images = {str(index): waves(index) for index in range(60)}
    expected = found(images)
    images["7"][3, 3] = bad
    assert found(images) == expected
    assert expected.levels > 200 and expected.warning() is None


def test_a_dead_pixel_in_every_picture_does_not_set_the_range():
    images = {str(index): waves(index) for index in range(9)}
    for values in images.values():
        values[20, 20] = 65535
    assert found(images).high <= 1000


def test_a_dead_pixel_in_a_dark_picture_does_not_set_the_range():
    images = {str(index): waves(index) for index in range(9)}
    images["dark"] = np.zeros((32, 32), np.uint16)
    images["dark"][5, 5] = 65535
    assert found(images).high <= 1000


def test_a_picture_that_takes_the_levels_of_all_others_is_named_with_the_remedy():
    images = {str(index): waves(index) for index in range(20)}
    images["bright"] = np.full((32, 32), 60_000, np.uint16)
    warning = found(images).warning()
    assert "keeps 5 of 256 levels" in warning and "to 60000 with bright; leave" in warning
    low, high = warning.rsplit(" ", 1)[1].split("..")
    assert float(low) < 50 and 900 < float(high) <= 1000
    images["dark"] = np.zeros((32, 32), np.uint16)
    del images["bright"]
    assert found(images).warning() is None


def test_what_lies_below_the_others_is_named_as_well():
    spans = [(str(index), "F", ValueSpan(0, 1, 0, 1)) for index in range(9)]
    spans.append(("low", "F", ValueSpan(-9999, 1, -9999, 1)))
    (only,) = find_ranges(spans)
    assert only.widest == "low" and only.warning().endswith("or give --range 0..1")


def test_each_kind_has_its_own_range_and_one_value_has_none():
    spans = [
        ("a", "RGB;16", ValueSpan(5, 5, 5, 5)),
        ("b", "I;16", ValueSpan(0, 9, 0, 9)),
        ("c", "F", ValueSpan(-1, 1, -1, 1)),
        ("d", "F", ValueSpan(0, 2, 0, 2)),
    ]
    assert ranges_of(find_ranges(spans)) == (("F", -1, 2), ("I;16", 0, 9))


def test_pictures_of_a_few_bright_pixels_keep_them():
    images = {str(index): np.zeros((64, 64), np.uint16) for index in range(9)}
    for index, values in enumerate(images.values()):
        values[index, index] = 1000
    assert (found(images).low, found(images).high) == (0, 1000)
    assert found(images).warning() is None


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("0..4095", 0, 4095),
        ("-1.5..1.5", -1.5, 1.5),
        (" 1e3 .. 2E4 ", 1000, 20_000),
        (".5..1.", 0.5, 1),
    ],
)
def test_a_range_by_hand_holds_for_every_kind(text, low, high):
    ranges = parse_range(text)
    assert [kind for kind, *_ in ranges] == ["F", "I", "I;16", "RGB;16"]
    assert {ends for _, *ends in map(list, ranges) for ends in [tuple(ends)]} == {(low, high)}
    assert describe_ranges(ranges) == [f"F, I, I;16, RGB;16 from {low:g} to {high:g}"]


@pytest.mark.parametrize(
    "text", ["", "5", "5..5", "9..1", "a..b", "0..inf", "nan..1", "0..1e31", "1-2"]
)
def test_what_is_no_range_is_refused_by_its_flag(text):
    with pytest.raises(ConfigError, match="^--range must be LOW..HIGH"):
        parse_range(text)
