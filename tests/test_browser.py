"""The pages as they are seen: in headless Chromium, light and dark, wide and narrow, printed.

Skipped where there is no browser. Debian's chromium does, or `playwright install chromium`.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adgan_cli.reports.comparison import Comparison
from adgan_cli.reports.explanation import Explanation, explain
from adgan_cli.reports.page import link
from adgan_cli.reports.report import ReportInfo, ReportOptions, make_report, write_report
from adgan_cli.reports.trajectory import (
    ExplainedImage,
    SearchTrajectory,
    shown_steps,
    write_trajectory_page,
)
from adgan_cli.scoring.rows import ScoreRow

driver = pytest.importorskip("playwright.sync_api")

NAMES = [
    "plain.png",
    "<script>document.title = 'run'<",
    "\"><img src=x onerror='document.title = 1'>.png",
    "{{ 7 * 7 }}{% raw %}.png",
    "two\nlines\r.png",
    "emoji \N{CAT FACE} \N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
    "lone \udcff.png",
    "&lt;entity&gt; # ? % 100%25.png",
    "javascript:alert(1).png",
    "https:x.png",
    "w" * 200 + ".png",
    "عربى-עברית-日本語.png",
]
SCREENS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 400)]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    named = ("chromium", "chromium-browser", "google-chrome")
    installed = next(filter(None, map(shutil.which, named)), None)
    with driver.sync_playwright() as play:
        path = installed or play.chromium.executable_path
        if not os.path.exists(path):
            pytest.skip("needs a Chromium")
        # no sandbox: it needs rights that a container or root has not
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Any]]:
    """opened(path, scheme, width): a page; in the end, nothing was fetched and none complained."""
    contexts: list[Any] = []
    messages: list[str] = []
    expected: list[str] = []

    def open_page(path: Path, scheme: str = "light", width: int = 1280, **more: Any) -> Any:
        viewport = {"width": width, "height": 900}
        context = chromium.new_context(viewport=viewport, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: messages.append(request.url))
        page.on("framenavigated", lambda frame: expected.append(frame.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    fetched = [line for line in messages if not line.startswith(("data:image/", "blob:"))]
    assert fetched == expected


@pytest.fixture(scope="module")
def axe() -> str:
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("needs axe-core, from axe-playwright-python")
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def drawn(path: Path, index: int, size: int) -> np.ndarray:
    noise = np.random.default_rng(index).integers(0, 255, (size, size, 3), np.uint8)
    Image.fromarray(noise).save(path, "PNG", compress_level=1)
    return noise


def explained(names: list[str], size: int) -> dict[str, Explanation]:
    """Explanations of noise by noise."""
    rng = np.random.default_rng(0)
    pixels, generated = rng.integers(0, 255, (2, len(names), size, size, 3), np.uint8)
    return explain(
        Comparison(
            ScoreRow(name, 1.0), pixels[i], generated[i], neighbours=pixels[[i - 1, i - 2, i - 3]]
        )
        for i, name in enumerate(names)
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all there can be on one: 24 cards, hostile names, notes, failures."""
    root = tmp_path_factory.mktemp("browser")
    names = NAMES + [f"sub folder/{index}-{name}" for index, name in enumerate(NAMES)]
    names = [name[:120] for name in names]
    (root / "sub folder").mkdir()
    for index, name in enumerate(names):
        drawn(root / name, index, 32)
    rows = [
        ScoreRow(
            name, 100.0 - index, p_value=(index + 1) / 99 if index % 3 else None,
            in_training=index % 3 == 0, width=32 + index, height=32, mode="RGB",
            z_scores={"patches": 9.0 - index, "histograms": index % 4, "<i>": 2.5},
        )
        for index, name in enumerate(names)
    ]  # fmt: skip
    rows.append(ScoreRow("<b>broken", None, error="empty <file>"))
    held_out = [50.0 + i for i in range(60)]
    info = ReportInfo(root, {"model": "abc", "size": 32}, {"k": 5}, held_out, len(held_out))
    report = replace(
        make_report(rows, info, ReportOptions(top=12)),
        notes=["About 2 of these would be here by chance.", "The order mostly follows contrast."],
        flagged=frozenset(names[:2]),
    )
    explanations = explained(names, 32)
    bare = explanations[names[1]]  # as of a model without a generator
    explanations[names[1]] = replace(bare, reconstruction=None, full=None)
    write_report(root / "report", report, explanations)
    return root / "report" / "index.html"


@pytest.fixture(scope="module")
def trajectory_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trajectory")
    images = []
    for index, name in enumerate(NAMES[:5]):
        pixels = drawn(root / name, index, 16)
        rng = np.random.default_rng(index)
        generated = rng.integers(0, 255, (3, len(shown_steps(9)), 16, 16, 3), np.uint8)
        losses = np.cumsum(rng.random((3, 10)), axis=1)[:, ::-1]
        row = ScoreRow(name, 3.5, p_value=0.25, width=16, height=16)
        compared = Comparison(row, pixels, generated[0, -1], neighbours=generated[0, :3])
        images.append(
            ExplainedImage(
                row,
                link(root / name, root),
                (root / name).read_bytes(),
                "explanation-1.png",
                explain([compared])[name],
                SearchTrajectory(pixels, generated, losses),
            )
        )
    path = root / "index.html"
    write_trajectory_page(path, images, settings={"k": "9"}, failures=[("<b>x", "empty")])
    return path


def faults(page: Any, axe: str, *, without: str = "") -> list[tuple[str, str]]:
    """List what axe-core finds wrong, everything unfolded, except in what `without` selects."""
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.evaluate(f"window.axe || (() => {{ {axe} }})()")
    context = f"{{ include: [['html']], exclude: [[{without!r}]] }}" if without else "document"
    # of what passes, which is much, nothing has to come over here
    return page.evaluate(
        f"""axe.run({context}, {{ resultTypes: ['violations'] }}).then(result =>
            result.violations.map(fault => [fault.id, fault.nodes[0].html]))"""
    )


def sideways(page: Any) -> int:
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def check_screens(page: Any, axe: str, alike: str) -> None:
    """Look at a page on every screen; `alike`: what the first has seen enough of."""
    for index, (scheme, width) in enumerate(SCREENS):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        assert sideways(page) <= 0, (scheme, width)
        assert faults(page, axe, without=alike if index else "") == [], (scheme, width)


def test_the_sheet_is_quiet_accessible_and_fits_each_screen(report, opened, axe):
    page = opened(report)
    assert page.locator("ol.cards > li").count() == 24
    check_screens(page, axe, alike=".cards li:nth-child(n+5)")
    assert page.title().startswith("What does not belong in"), "no name was run"


def test_the_trajectory_of_a_search_is_quiet_accessible_and_fits_each_screen(
    trajectory_page, opened, axe
):
    page = opened(trajectory_page)
    assert page.locator("tbody tr").count() == 15
    check_screens(page, axe, alike="section:nth-child(n+3)")


def test_all_pictures_can_be_seen(report, opened):
    page = opened(report)
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0
    assert page.locator("img").count() == 24 * (1 + 2 + 3) - 1, "one has no reconstruction"


def test_cards_are_found_and_sorted_from_the_keyboard(report, opened):
    page = opened(report)

    def first() -> str:
        return page.locator("#most li:visible").first.get_attribute("value")

    def shown() -> int:
        return page.locator("ol.cards > li:visible").count()

    def tab_to(name: str) -> None:
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == name:
                return
        pytest.fail(f"no way to {name} by keyboard")

    assert (first(), shown(), page.inner_text("#told")) == ("1", 24, "24 shown")
    tab_to("wanted")
    page.keyboard.type("EMOJI")
    assert (shown(), page.inner_text("#told")) == (2, "2 of 24 shown")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.press("Delete")
    assert shown() == 24
    tab_to("order")
    page.keyboard.type("largest")
    assert first() == "12", "the widest of those"
    page.keyboard.press("Home")
    assert first() == "1"
    tab_to("flagged")
    page.keyboard.press("Space")
    assert shown() == 2
    page.keyboard.press("Space")
    tab_to("explained")
    page.keyboard.press("Space")
    assert page.locator(".why:visible").count() == 0 and shown() == 24


def marked_file(page: Any) -> bytes:
    """What `Save list` saves."""
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "marked.txt"
    return Path(download.value.path()).read_bytes()


def test_pictures_are_marked_by_a_click_or_a_key_and_saved_as_a_list(report, opened, axe):
    page = opened(report)
    cards = page.locator("ol.cards > li")

    def names(*indices: int) -> list[str]:
        return [cards.nth(index).get_attribute("data-name") for index in indices]

    def focused() -> str:
        return page.evaluate("document.activeElement.closest('li').dataset.name")

    assert page.inner_text("#marked") == "0 marked" and page.is_disabled("#save")
    cards.nth(0).locator(".pick").click()
    page.keyboard.press("j")
    page.keyboard.press("ArrowRight")
    assert focused() == names(2)[0]
    page.keyboard.press("m")
    page.keyboard.press("k")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert focused() == names(1)[0]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("j")
    page.keyboard.press("Space")  # on a button: the browser's own click
    page.locator("ol.cards > li:nth-child(6) a").first.focus()
    page.keyboard.press("Space")
    expected = names(0, 2, 3, 5)
    pressed = page.locator(".pick[aria-pressed=true]")
    assert [label.removeprefix("Mark ") for label in pressed.evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label'))"
    )] == expected  # fmt: skip
    assert page.inner_text("#marked") == "4 marked"
    assert marked_file(page).decode() == "".join(f"{name}\n" for name in expected)
    page.click("#copy")
    page.wait_for_function("message.textContent")
    page.check("#only")
    assert page.locator("ol.cards > li:visible").count() == 4
    assert faults(page, axe) == []
    page.locator(".pick").nth(1).focus()
    page.keyboard.press("m")
    assert page.locator("ol.cards > li:visible").count() == 3 and focused() == expected[2]
    page.click("#clear")
    assert page.inner_text("#marked") == "0 marked" and page.inner_text("#told") == "0 of 24 shown"


def test_a_name_with_a_line_break_is_saved_whole(report, opened):
    page = opened(report)
    page.locator("li[data-name^=two] .pick").first.click()
    page.locator("li[data-name='plain.png'] .pick").click()
    assert sorted(marked_file(page).split(b"\0")) == [b"", b"plain.png", b"two\nlines\r.png"]


def test_keys_leave_fields_and_shortcuts_alone(report, opened):
    page = opened(report)
    page.focus("#wanted")
    page.keyboard.type("mjk m")
    assert page.input_value("#wanted") == "mjk m" and page.inner_text("#marked") == "0 marked"
    page.fill("#wanted", "")
    page.locator(".pick").first.focus()
    page.keyboard.press("Control+m")
    assert page.inner_text("#marked") == "0 marked"


def test_marks_outlive_a_reload_and_belong_to_their_report(report, opened, tmp_path):
    page = opened(report)
    page.locator(".pick").nth(1).click()
    page.reload()
    assert page.inner_text("#marked") == "1 marked"
    assert page.locator(".pick").nth(1).get_attribute("aria-pressed") == "true"
    html = report.read_text(encoding="utf-8")
    identity = html.split('data-report="')[1].split('"')[0]
    (tmp_path / "other.html").write_text(html.replace(identity, "another"), encoding="utf-8")
    page.goto((tmp_path / "other.html").as_uri())
    assert page.inner_text("#marked") == "0 marked"


def test_where_storage_is_refused_marks_still_work(report, opened):
    page = opened(report)
    refused = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no') } })"
    page.add_init_script(refused)
    page.reload()
    page.locator(".pick").first.click()
    assert page.inner_text("#marked") == "1 marked"
    assert "does not keep marks" in page.inner_text("#message")


def test_without_a_script_the_page_is_complete(report, opened):
    page = opened(report, java_script_enabled=False)
    # what is far from the window is laid out a moment later
    driver.expect(page.locator("ol.cards > li:visible")).to_have_count(24)
    driver.expect(page.locator(".why:visible")).to_have_count(24)
    assert page.locator("#controls:visible, #marking:visible, .pick").count() == 0


def test_a_script_that_is_not_ours_does_not_run(report, chromium, tmp_path):
    html = report.read_text(encoding="utf-8")
    inserted = html.replace("<main>", "<main><script>document.title = 'run'</script>")
    assert inserted != html
    (tmp_path / "index.html").write_text(inserted, encoding="utf-8")
    page = chromium.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    assert page.title() != "run"
    assert page.inner_text("#told") == "24 shown", "ours did"
    page.close()


def test_printed_it_is_cards_without_controls(report, opened, tmp_path):
    page = opened(report, "dark")
    page.pdf(path=tmp_path / "sheet.pdf", prefer_css_page_size=True)
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert (
        page.locator("#controls:visible, nav:visible, #marking:visible, .pick:visible").count() == 0
    )
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.slow
def test_two_thousand_pictures_with_hostile_names_make_a_page_that_opens(tmp_path, opened, axe):
    names = [f"{index}{NAMES[index % len(NAMES)]}"[:120] for index in range(2000)]
    names = [name.replace("/", "") for name in names]
    for index, name in enumerate(names):
        shown = index < 100 or index >= 1900
        drawn(tmp_path / name, index, 320 if shown else 8)  # the worst there is: noise
    rows = [
        ScoreRow(name, 4000.0 - index, width=320, height=320) for index, name in enumerate(names)
    ]
    report = make_report(rows, ReportInfo(tmp_path), ReportOptions(top=100))
    write_report(tmp_path / "r", report, explained(names[:100] + names[1900:], 64))
    page_file = tmp_path / "r" / "index.html"
    assert page_file.stat().st_size < 15_000_000
    for scheme, width in SCREENS:
        page = opened(page_file, scheme, width)
        assert page.locator("ol.cards > li").count() == 200
        assert sideways(page) <= 0
        if width == 400:
            assert faults(page, axe) == []
        page.close()
    page = opened(page_file)
    page.pdf(path=tmp_path / "sheet.pdf")
