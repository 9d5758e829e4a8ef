"""Take a picture of a report page, as README shows one.

    bash examples/quickstart.sh
    python examples/experiments/page_picture.py quickstart-data/report examples/page.png
    python examples/experiments/page_picture.py --train ./bedrooms --val ./val REPORT PAGE.png

Opens REPORT/index.html in headless Chromium and writes what a window shows. With --train and --val
it writes the report first: a model trained for five minutes at 64 pixels ranks the images of --val.
Needs playwright (extra: test) and a Chromium.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--train", type=Path, help="images to learn from")
    parser.add_argument("--val", type=Path, help="images to rank")
    parser.add_argument("--window", type=int, nargs=2, default=[1200, 1000], help="in pixels")
    args = parser.parse_args()
    if (args.train is None) != (args.val is None):
        parser.error("--train and --val belong together")
    if args.train:
        make_report(args.train, args.val, args.report)
    width, height = args.window
    args.picture.write_bytes(screenshot(args.report / "index.html", width, height))
    print(f"{args.picture}: {args.picture.stat().st_size / 1000:.0f} KB")


def make_report(train: Path, val: Path, report: Path) -> None:
    """Train a model of width 16 for five minutes, and rank the images of `val` with it."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        for words in (
            ["train", train, "-o", model, "--width", "16", "--flip", "--max-time", "5m"],
            ["rank", val, "-m", model, "-o", report, "--top", "15"],
        ):
            subprocess.run([sys.executable, "-m", "adgan_cli", *map(str, words)], check=True)


def screenshot(page: Path, width: int, height: int) -> bytes:
    """Return the top of a page as PNG, in a window of so many pixels."""
    from playwright.sync_api import sync_playwright  # not needed for --help

    names = ("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as play:
        installed = next(filter(None, map(shutil.which, names)), play.chromium.executable_path)
        # no sandbox: it needs rights that a container or root has not
        browser = play.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": width, "height": height})
        window.goto(page.resolve().as_uri())
        picture = window.screenshot()
        browser.close()
    return picture


if __name__ == "__main__":
    main()
