"""Large pictures wait for each other; nobody waits for ever."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from adgan_cli.images import decode
from adgan_cli.images.memory import MemoryBudget
from adgan_cli.images.read import Preprocessing, decode_image


def largest_sum(budget: MemoryBudget, needs: list[int], workers: int) -> int:
    """Read as often as there are needs, in threads; the most that was taken at once."""
    lock, taken, most = threading.Lock(), [0], [0]

    def read(need: int) -> None:
        with budget.reading():
            for part in (need // 3, need - need // 3):
                budget.need(part)
                with lock:
                    taken[0] += part
                    most[0] = max(most[0], taken[0])
                time.sleep(0.0005)
            with lock:
                taken[0] -= need

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(read, needs))
    assert taken == [0]
    return most[0]


def test_threads_together_stay_within_the_budget_but_for_the_first():
    needs = np.random.default_rng(0).integers(1, 60, 300).tolist()
    assert largest_sum(MemoryBudget(100), needs, workers=8) <= 100 + 60
    assert largest_sum(MemoryBudget(10**6), needs, workers=8) > 160


def test_what_is_larger_than_the_budget_is_read_alone():
    assert largest_sum(MemoryBudget(100), [150] * 20, workers=4) <= 250
    assert largest_sum(MemoryBudget(0), [150] * 20, workers=4) == 150


def test_outside_of_reading_nobody_waits_and_blocks_may_be_nested():
    budget = MemoryBudget(10)
    budget.need(100)
    with ThreadPoolExecutor(1) as pool:
        with budget.reading():
            budget.need(8)
            with budget.reading():
                budget.need(8)
            waiting = pool.submit(largest_sum, budget, [9], 1)
            time.sleep(0.02)
            assert not waiting.done()  # the inner block gave nothing back
            budget.need(1)
        assert waiting.result(timeout=60) == 9


def test_pictures_are_decoded_one_at_a_time_where_they_are_large(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "READING", MemoryBudget(10_000))
    monkeypatch.setattr("adgan_cli.images.open_image.READING", decode.READING)
    decoding, most, load = [0], [0], decode._load

    def watched(image, file):
        decoding[0] += 1
        most[0] = max(most[0], decoding[0])
        time.sleep(0.005)
        decoding[0] -= 1
        return load(image, file)

    monkeypatch.setattr(decode, "_load", watched)
    for side, expected in ((90, 1), (9, 4)):
        most[0] = 0
        Image.new("RGB", (side, side)).save(tmp_path / "a.png")
        with ThreadPoolExecutor(4) as pool:
            list(
                pool.map(lambda _: decode_image(tmp_path / "a.png", Preprocessing(8, 3)), range(12))
            )
        assert most[0] == expected
