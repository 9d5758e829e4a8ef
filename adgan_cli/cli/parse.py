"""Read counts, times and sizes of options as people write them."""

import re

from adgan_cli.errors import ConfigError


def parse_count(text: str, option: str, word: str) -> int | None:
    """Read a number of at most ten digits; None for `word`. Raises ConfigError."""
    if text == word:
        return None
    if not re.fullmatch("[0-9]{1,10}", text):
        raise ConfigError(f"{option} must be a number or {word}, got {text}")
    return int(text)


def parse_duration(text: str, option: str) -> float | None:
    """Read `90s`, `30m`, `1h30m` or plain seconds; None for `none`. Raises ConfigError."""
    text = text.strip().lower()
    if text == "none":
        return None
    number = r"\d{1,9}(?:\.\d{1,9})?"  # no more than a clock can wait for
    if re.fullmatch(number, text):
        return float(text)
    match = re.fullmatch(rf"(?:(\d{{1,9}})h)?(?:(\d{{1,9}})m)?(?:({number})s)?", text)
    if not text or not match:
        raise ConfigError(f"{option} must be like 90s, 30m, 1h30m or none, got {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def parse_size(text: str, option: str) -> int:
    """Read `500MB`, `10GB` or plain bytes, as `format_bytes` writes them. Raises ConfigError."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*(|KB|MB|GB|TB)", text.strip().upper())
    if not match:
        raise ConfigError(f"{option} must be like 500MB or 10GB, got {text!r}")
    factor = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[match[2]]
    return int(float(match[1]) * factor)


def parse_pixels(text: str, option: str) -> int:
    """Read `400MP` or plain pixels. Raises ConfigError."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*(|MP)", text.strip().upper())
    count = int(float(match[1]) * (10**6 if match[2] else 1)) if match else 0
    if count < 1:
        raise ConfigError(f"{option} must be like 400MP or 400000000, got {text!r}")
    return count
