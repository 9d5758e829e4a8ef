"""Measure how long the page of a large report takes to open, to filter and to sort.

    python examples/experiments/page_speed.py --pictures 2000

Draws a report of that many generated pictures, half of them the most and half the least anomalous,
with explanations, and opens it in headless Chromium. Needs playwright (extra: test) and a Chromium.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from adgan_cli.reports.comparison import Comparison
from adgan_cli.reports.explanation import explain
from adgan_cli.reports.report import ReportInfo, ReportOptions, make_report, write_report
from adgan_cli.scoring.rows import ScoreRow

# an action on the page, until what it changed is painted
ACTION = """([action]) => new Promise(done => {
    const start = performance.now();
    new Function(action)();
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})"""
SET = "const field = document.getElementById('%s'); field.%s; field.dispatchEvent(new Event('%s'));"
ACTIONS = {
    "filter to a tenth": SET % ("wanted", "value = '7.png'", "input"),
    "filter to all": SET % ("wanted", "value = ''", "input"),
    "sort by name": SET % ("order", "value = 'name'", "change"),
    "sort by rank": SET % ("order", "value = 'written'", "change"),
    "without explanations": SET % ("explained", "checked = false", "change"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = make_page(Path(folder), args.pictures)
        print(f"{args.pictures} pictures, {page.stat().st_size / 1e6:.1f} MB")
        times: dict[str, list[float]] = {}
        for _ in range(args.repeat):
            for name, seconds in measured(page).items():
                times.setdefault(name, []).append(seconds)
    for name, seconds in times.items():
        print(f"{name:24}{statistics.median(seconds):6.2f} s, at most {max(seconds):.2f} s")


def make_page(folder: Path, count: int) -> Path:
    """Write the report of so many blurred noises, and return its page."""
    rng = np.random.default_rng(0)
    names = [f"sub folder/picture-{index}.png" for index in range(count)]
    (folder / "sub folder").mkdir()
    pixels = rng.integers(0, 255, (count, 16, 16, 3), np.uint8)
    for name, noise in zip(names, pixels, strict=True):
        Image.fromarray(noise).resize((160, 160), Image.Resampling.BICUBIC).save(folder / name)
    rows = [
        ScoreRow(
            name, float(count - index), p_value=0.5, width=160, height=160, mode="RGB",
            z_scores={"patches": rng.normal(), "histograms": rng.normal()},
        )
        for index, name in enumerate(names)
    ]  # fmt: skip
    compared = [
        Comparison(row, one, pixels[index - 1], neighbours=pixels[[index - 1, index - 2]])
        for index, (row, one) in enumerate(zip(rows, pixels, strict=True))
    ]
    report = make_report(rows, ReportInfo(folder), ReportOptions(top=count // 2))
    write_report(folder / "report", report, explain(compared))
    return folder / "report" / "index.html"


def measured(page_file: Path) -> dict[str, float]:
    """Open the page in a new browser; return the seconds of each step."""
    from playwright.sync_api import sync_playwright  # not needed for --help

    names = ("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as play:
        installed = next(filter(None, map(shutil.which, names)), play.chromium.executable_path)
        # no sandbox: it needs rights that a container or root has not
        browser = play.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.goto(page_file.resolve().as_uri(), timeout=600_000)
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        seconds = page.evaluate(
            """() => ({
                'first paint': performance.getEntriesByName('first-contentful-paint')[0].startTime,
                'loaded': performance.getEntriesByType('navigation')[0].loadEventEnd,
            })"""
        )
        for name, action in ACTIONS.items():
            seconds[name] = page.evaluate(ACTION, [action])
        browser.close()
    return {name: milliseconds / 1000 for name, milliseconds in seconds.items()}


if __name__ == "__main__":
    main()
