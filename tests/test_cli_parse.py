"""Counts, times and sizes are read as people write them, or refused by the option's name."""

import pytest

from adgan_cli.cli.parse import parse_count, parse_duration, parse_size
from adgan_cli.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h1m1s", 3661), ("1h5s", 3605),
        ("45", 45), ("1.5", 1.5), ("0", 0), ("0s", 0), (" 5M ", 300), ("none", None),
        ("0.3s", 0.3), ("1m0.5s", 60.5), ("None", None),
    ],
)  # fmt: skip
def test_durations_are_read_as_people_write_them(text, seconds):
    assert parse_duration(text, "--max-time") == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "-5",
        "5 m",
        "m",
        "30m1h",
        "1e3",
        "nan",
        "inf",
        "5d",
        "1.5h",
        "5mm",
        "1h30",
        "9" * 20,
        "9" * 5000,
    ],
)
def test_what_is_no_duration_is_refused_by_the_name_of_its_option(text):
    with pytest.raises(ConfigError, match="^--max-time must be like 90s, 30m"):
        parse_duration(text, "--max-time")


@pytest.mark.parametrize("text", ["9" * 20, "9" * 5000, "-1", "1.5", "", "٣", "many"])
def test_a_count_of_any_length_is_read_or_refused(text):
    assert parse_count("4000", "--iters", "auto") == 4000
    assert parse_count("auto", "--iters", "auto") is None
    with pytest.raises(ConfigError, match="^--iters must be a number or auto, got"):
        parse_count(text, "--iters", "auto")


@pytest.mark.parametrize("text", ["9" * 20, "9" * 5000 + "GB", "1e3", "-5MB"])
def test_a_size_has_no_more_digits_than_a_disk_has_bytes(text):
    assert parse_size("1.5GB", "--cache-limit") == 1_500_000_000
    with pytest.raises(ConfigError, match="^--cache-limit must be like 500MB"):
        parse_size(text, "--cache-limit")
