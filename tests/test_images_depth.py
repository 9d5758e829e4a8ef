"""Which value becomes black and which white, for every kind of deep picture."""

import numpy as np
import pytest
from PIL import Image

from adgan_cli.images.depth import Deep, ValueSpan, to_eight_bits, value_span

PLAIN = Image.new("L", (1, 1))  # without a transparent colour or a profile


def levels(deep: Deep, ranges=()) -> tuple[list[float], str]:
    """What scaling gives: levels in one row, and the notes."""
    image, notes = to_eight_bits(deep, PLAIN, ranges)
    return np.asarray(image).ravel().tolist(), notes


def row(*values: float, kind: str = "u2") -> np.ndarray:
    return np.array([values], kind)


def test_16_bits_take_the_full_range_of_the_type_and_round():
    deep = Deep(row(0, 128, 129, 4095, 65535), "I;16")
    assert levels(deep) == ([0, 0, 1, 16, 255], "[0..65535]")


def test_every_16_bit_value_goes_to_the_nearest_level():
    values = np.arange(2**16, dtype=np.uint16)[None]
    found = np.asarray(to_eight_bits(Deep(values, "I;16"), PLAIN)[0], float)
    assert np.abs(found - values / 257).max() <= 0.5


@pytest.mark.parametrize(
    ("stored", "values", "expected", "notes"),
    [
        ("I", [0, 65535, 257, 514], [0, 255, 1, 2], "[0..65535]"),
        ("I", [-32768, 32767, 0, -1], [0, 255, 128, 127], "[-32768..32767]"),
        ("I", [0, 2**31 - 1, 2**30, 70000], [0, 255, 128, 0], "[0..2147483647]"),
        ("I", [0, 2**32 - 1, 2**31, 0], [0, 255, 128, 0], "[0..4294967295]"),
        ("I", [-(2**31), 2**31 - 1, 0, 0], [0, 255, 128, 128], "[-2147483648..2147483647]"),
        ("F", [0, 1, 0.5, 0.25], [0, 255, 128, 64], "[0..1]"),
        ("F", [0, 255, 1, 2], [0, 255, 1, 2], "[0..255]"),
        ("F", [-1, 3, 1, 0], [0, 255, 128, 64], "[-1..3]"),
        ("F", [7e9, 7e9], [0, 0], "[7000000000..7000000000]"),
        ("F", [np.nan, 1], [0, 255], "[0..1]+nodata"),
        ("F", [np.nan, 1, np.inf, -np.inf], [0, 255, 0, 0], "[0..1]+nodata"),
        ("F", [np.nan, np.nan], [0, 0], "[0..1]+nodata"),
        ("F", [np.inf, np.inf], [0, 0], "[0..1]+nodata"),
        ("F", [-3.4e38, 0.5, 1, 3.4e38], [0, 128, 255, 0], "[0..1]+nodata"),
        ("F", [300, -1.1e30, 310], [0, 0, 255], "[300..310]+nodata"),
    ],
)
def test_numbers_take_the_first_range_that_holds_them(stored, values, expected, notes):
    deep = Deep(row(*values, kind={"I": "i8", "F": "f4"}[stored]), stored, None)
    assert levels(deep) == (expected, notes)


def test_the_widest_floats_do_not_overflow():
    assert levels(Deep(row(-1e30, 1e30, 0, kind="f4"), "F", None))[0] == [0, 255, 128]


RANGES = (("F", -1.0, 1.0), ("I", 10.0, 20.0), ("I;16", 0.0, 4095.0), ("RGB;16", 1000.0, 2000.0))


@pytest.mark.parametrize(
    ("deep", "expected", "notes"),
    [
        (Deep(row(0, 4095, 2048), "I;16"), [0, 255, 128], "[0..4095]"),
        (Deep(row(0, 4096, 65535), "I;16"), [0, 255, 255], "[0..4095]+clip"),
        (Deep(row(0, 4095), "I;16", (0, 4095)), [0, 255], "[0..4095]"),
        (Deep(row(10, 20, 15, kind="i4"), "I", None), [0, 255, 128], "[10..20]"),
        (Deep(row(-7, 99, kind="i4"), "I", None), [0, 255], "[10..20]+clip"),
        (Deep(row(-1, 1, 0, kind="f4"), "F", None), [0, 255, 128], "[-1..1]"),
        (Deep(row(np.nan, 0, kind="f4"), "F", None), [0, 128], "[-1..1]+nodata"),
        (Deep(row(0, 4095), "I;16", inverted=True), [255, 0], "[4095..0]"),
        (
            Deep(np.array([[[0, 1000, 1500], [2000, 2001, 1200]]], np.uint16), "RGB;16"),
            [0, 0, 128, 255, 255, 51],
            "[1000..2000]+clip",
        ),
    ],
)
def test_the_range_of_the_training_set_comes_first(deep, expected, notes):
    assert levels(deep, RANGES) == (expected, notes)


def test_a_range_of_one_value_is_black_and_white_above_it():
    ranges = (("I;16", 7.0, 7.0),)
    assert levels(Deep(row(0, 7, 8), "I;16"), ranges) == ([0, 0, 255], "[7..7]+clip")


def test_a_range_of_another_kind_changes_nothing():
    assert levels(Deep(row(0, 65535), "I;16"), (("RGB;16", 0.0, 9.0),)) == ([0, 255], "[0..65535]")


def test_white_is_least_in_an_inverted_picture():
    deep = Deep(row(0, 65535, 257), "I;16", inverted=True)
    assert levels(deep) == ([255, 0, 254], "[65535..0]")
    deep = Deep(row(0, 1, 0.25, np.nan, kind="f4"), "F", None, inverted=True)
    assert levels(deep) == ([255, 0, 191, 255], "[1..0]+nodata")


def test_values_of_the_upper_byte_alone_say_so():
    deep = Deep(np.zeros((1, 1, 3), np.uint16), "RGB;16", upper_byte_only=True)
    assert levels(deep)[1].endswith("+high8")


def test_alpha_keeps_its_own_range():
    values = np.array([[[4095, 65535], [0, 32768]]], np.uint16)
    image, notes = to_eight_bits(Deep(values, "LA;16"), PLAIN, RANGES)
    assert (image.mode, notes) == ("LA", "[0..4095]")
    assert np.asarray(image).tolist() == [[[255, 255], [0, 128]]]


@pytest.mark.parametrize("upper_byte_only", [False, True])
def test_only_the_exact_transparent_colour_is_transparent(upper_byte_only):
    colour = (0x1234, 0x5678, 0x9ABC)
    values = np.array([[colour, (0x1234, 0x5678, 0x9ABD)]], np.uint16)
    if upper_byte_only:
        values = values // 256 * 257
    image = Image.new("RGB", (2, 1))
    image.info["transparency"] = colour
    deep = Deep(values, "RGB;16", upper_byte_only=upper_byte_only)
    assert np.asarray(to_eight_bits(deep, image)[0])[0, :, 3].tolist() == (
        [0, 0] if upper_byte_only else [0, 255]
    )


def test_a_large_picture_is_scaled_like_its_parts():
    values = np.random.default_rng(0).normal(size=(999, 1000)).astype(np.float32)
    ranges = (("F", -9.0, 9.0),)
    whole = np.asarray(to_eight_bits(Deep(values, "F", None), PLAIN, ranges)[0], float)
    assert np.abs(whole - (values.astype(float) + 9) * 255 / 18).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("deep", "expected"),
    [
        (Deep(row(5, 9), "I;16"), (5, 9)),
        (Deep(row(5, 5), "I;16"), (5, 5)),
        (Deep(row(np.nan, 2, np.inf, 1, kind="f4"), "F", None), (1, 2)),
        (Deep(row(np.nan, -np.inf, kind="f4"), "F", None), None),
        (Deep(np.array([[[3, 65535], [8, 0]]], np.uint16), "LA;16"), (3, 8)),
        (Deep(np.array([[[3, 4, 5, 65535], [8, 7, 6, 0]]], np.uint16), "RGBA;16"), (3, 8)),
    ],
)
def test_least_and_greatest_count_finite_colours(deep, expected):
    span = value_span(deep)
    assert (span and (span.least, span.greatest)) == expected


@pytest.mark.parametrize(
    ("kind", "stored", "no_data", "values", "expected", "notes"),
    [
        ("f4", "F", -9999.0, [-9999, 0, 1, 0.5], [0, 0, 255, 128], "[0..1]+nodata"),
        ("f4", "F", -9999.9, [-9999.9, 0, 1, 0.5], [0, 0, 255, 128], "[0..1]+nodata"),
        ("i4", "I", -(2.0**31), [-(2**31), 0, 65535, 257], [0, 0, 255, 1], "[0..65535]+nodata"),
        ("u2", "I;16", 65535.0, [0, 65535, 257, 65534], [0, 0, 1, 255], "[0..65535]+nodata"),
        ("u2", "I;16", -9999.0, [0, 65535], [0, 255], "[0..65535]"),
        ("u2", "I;16", 70000.0, [0, 65535], [0, 255], "[0..65535]"),
        ("u1", "L", 255.0, [0, 255, 7], [0, 0, 7], "[0..255]+nodata"),
    ],
)
def test_what_is_declared_no_data_is_the_low_end_and_no_part_of_the_range(
    kind, stored, no_data, values, expected, notes
):
    type_range = {"u2": (0, 65535), "u1": (0, 255)}.get(kind)
    deep = Deep(row(*values, kind=kind), stored, type_range, no_data=no_data)
    assert levels(deep) == (expected, notes)


def test_no_data_is_the_low_end_of_a_range_that_is_given():
    deep = Deep(row(np.nan, 5, 10, kind="f4"), "F", None)
    assert levels(deep, (("F", -5.0, 15.0),)) == ([0, 128, 191], "[-5..15]+nodata")


def test_single_values_do_not_set_the_range_of_a_picture():
    values = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)
    values[3, 3] = -9999
    assert levels(Deep(values, "F", None))[1] == "[0..1]+clip"
    low, high = value_span(Deep(values * 300, "F", None)).ends()
    assert 0 <= low < 1 and high == 300


def test_values_that_lie_near_the_others_belong_to_the_range():
    values = np.linspace(100, 200, 1024, dtype=np.float32).reshape(32, 32)
    values[0, 0], values[31, 31] = 95, 209
    assert value_span(Deep(values, "F", None)).ends() == (95, 209)


def test_of_equal_values_the_few_others_are_what_there_is_to_see():
    values = np.zeros((32, 32), np.uint16)
    values[3, 3] = 1000
    span = value_span(Deep(values, "I;16"))
    assert span == ValueSpan(0, 1000, 0, 0) and span.ends() == (0, 1000)
    assert span.near() == (0, 0)


def test_of_few_values_none_is_left_out():
    assert value_span(Deep(row(0, 4095), "I;16")) == ValueSpan(0, 4095, 0, 4095)


def test_a_large_picture_is_measured_like_a_small_one():
    values = np.random.default_rng(0).integers(1000, 3000, (1500, 1400)).astype(np.uint16)
    values[700, 7], values[9, 1300] = 0, 65535
    span = value_span(Deep(values, "I;16"))
    assert (span.least, span.greatest) == (0, 65535)
    assert abs(span.low - 1002) < 2 and abs(span.high - 2997) < 2
