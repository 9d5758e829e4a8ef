"""Counts and bytes as people read them."""

import pytest

from adgan_cli.text import format_bytes, format_number, plural


def test_one_is_no_plural_and_thousands_are_grouped():
    counts = [plural(count, "picture") for count in (0, 1, 3000)]
    assert counts == ["0 pictures", "1 picture", "3,000 pictures"]


def test_bytes_get_the_unit_that_fits():
    assert [format_bytes(n) for n in (52e3, 37e6, 1.23e9)] == ["52 KB", "37 MB", "1.2 GB"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0351, "0.035"), (4.24, "4.2"), (9.96, "10"), (112.7, "113"), (1130, "1,130")],
)
def test_a_number_for_people_has_no_power_of_ten(value, text):
    assert format_number(value) == text
