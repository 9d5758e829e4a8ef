"""Counts and bytes as people read them."""

from adgan_cli.text import format_bytes, plural


def test_one_is_no_plural_and_thousands_are_grouped():
    counts = [plural(count, "picture") for count in (0, 1, 3000)]
    assert counts == ["0 pictures", "1 picture", "3,000 pictures"]


def test_bytes_get_the_unit_that_fits():
    assert [format_bytes(n) for n in (52e3, 37e6, 1.23e9)] == ["52 KB", "37 MB", "1.2 GB"]
