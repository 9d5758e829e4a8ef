"""The contact sheet as a browser would see it: parsed, not compared with a stored page."""

from html.parser import HTMLParser

import pytest

from adgan_cli.reports.contact_sheet import LISTED_FAILURES, Card, write_contact_sheet
from adgan_cli.reports.explanation import Explanation
from adgan_cli.scoring.rows import Counts

JPEG = b"\xff\xd8 not really \xff\xd9"
NASTY = [
    "<script>alert(1)</script>.png",
    "\"><img src=x onerror='alert(1)'>.png",
    "{{ 7 * 7 }}{% raw %}.png",
    "two\nlines.png",
    "emoji \N{CAT FACE}.png",
    "lone \udcff.png",
    "&lt;entity&gt;.png",
]


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("style", "script"):
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


WHY = Explanation(reconstruction=JPEG, difference=JPEG, full=90, neighbours=(JPEG, JPEG))


def card(
    rank=1, score=1.5, name="a.png", href="../a.png", thumbnail=JPEG, width=64, height=48, **more
):
    return Card(rank, score, name, href, thumbnail, width, height, **more)


def sheet(folder, most=(), least=(), **changed):
    given = {
        "title": "Pictures",
        "counts": Counts(found=9, scored=9, failed=0),
        "settings": {},
        "failures": [],
        "scores": [card.score for card in (*most, *least)],
    }
    path = folder / "index.html"
    write_contact_sheet(path, most=most, least=least, **{**given, **changed})
    html = path.read_text(encoding="utf-8")
    return html, Page(html)


def test_sections_name_their_pictures(tmp_path):
    html, page = sheet(tmp_path, [card(1), card(2)], [card(9, 0.5)])
    assert "2 most anomalous of 9 pictures" in page.text
    assert "1 least anomalous of 9 pictures" in page.text
    assert [item["value"] for item in page.all("li")] == ["1", "2", "9"]
    assert page.all("html") == [{"lang": "en"}]
    assert html.startswith("<!doctype html>")


@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_text_wherever_it_stands(tmp_path, name):
    html, page = sheet(
        tmp_path,
        [card(name=name)],
        title=name,
        counts=Counts(found=9, scored=8, failed=1),
        settings={name: name},
        failures=[(name, name)],
        notes=[name],
    )
    shown = name.replace("\udcff", r"\udcff")
    assert len(page.all("script")) == 1, "our own"
    assert [item.get("data-name") for item in page.all("li")][:3] == [None, shown, None]
    assert [image["alt"] for image in page.all("img")] == [shown]
    assert all("onerror" not in attrs for _, attrs in page.tags)
    # title, h1, note, setting and its value, failure and its reason
    assert page.text.count(shown) >= 6


def test_the_page_needs_nothing_from_outside(tmp_path):
    html, page = sheet(tmp_path, [card()], [card(2, href=None)])
    assert page.all("link") == [] and page.all("script") == [{}], "inline"
    assert [image["src"][:23] for image in page.all("img")] == ["data:image/jpeg;base64,"] * 2
    assert "url(" not in html and "http:" not in html and "https:" not in html
    links = [link["href"] for link in page.all("a")]
    assert [link for link in links if not link.startswith("#")] == ["../a.png"]
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {link[1:] for link in links if link.startswith("#")} <= ids


@pytest.mark.parametrize("href", ["javascript:alert(1)", "https://x.org/a.png", "//x.org/a.png"])
def test_a_link_that_leaves_the_computer_is_refused(href):
    with pytest.raises(ValueError, match="href must stay on this computer"):
        card(href=href)


def test_a_card_says_what_is_known_and_nothing_else(tmp_path):
    _, page = sheet(tmp_path, [card(p_value=0.00512, flagged=True)])
    assert "p = 0.0051" in " ".join(page.text.split()) and "flagged" in page.text
    assert {"title": "0.00512"} in page.all("span")
    _, page = sheet(tmp_path, [card(), card(2, in_training=True)])
    assert "p =" not in page.text and "flagged" not in page.text
    assert page.text.count("trained on") == 1, "why that one has no p-value"


def test_a_card_is_explained_by_pictures_with_alternative_texts(tmp_path):
    _, page = sheet(tmp_path, [card(explanation=WHY)], [card(2, name="b.png")])
    assert [image["alt"] for image in page.all("img")] == [
        "a.png",
        "Best reconstruction of a.png",
        "Where that differs from the picture",
        "Training picture 1",
        "Training picture 2",
        "b.png",
    ]
    assert page.text.count("nearest in training") == 1
    assert "palest from 90 of 255 grey levels" in page.text
    bare = Explanation(JPEG, JPEG, 90)
    _, page = sheet(tmp_path, [card(explanation=bare)])
    assert "nearest in training" not in page.text, "there is none to show"


def test_a_card_without_a_reconstruction_says_what_a_generator_would_add(tmp_path):
    why = Explanation(None, JPEG, None, neighbours=(JPEG, JPEG))
    _, page = sheet(tmp_path, [card(explanation=why)])
    assert [image["alt"] for image in page.all("img")][1:] == [
        "Where the picture is unlike training pictures",
        "Training picture 1",
        "Training picture 2",
    ]
    assert "has no generator; with one, each card would also show" in page.text
    assert "grey levels" not in page.text and "Reconstruction:" not in page.text
    _, page = sheet(tmp_path, [card(explanation=Explanation(None, None, None, (JPEG,)))])
    assert len(page.all("img")) == 2 and "Unlike training" not in page.text
    _, page = sheet(tmp_path, [card(explanation=WHY)])
    assert "has no generator" not in page.text


def test_a_card_says_which_detectors_speak_the_loudest_first(tmp_path):
    z_scores = {"patches": 0.3, "histograms": 2.34, "transformations": 4.06, "<i>own": 2.0}
    _, page = sheet(tmp_path, [card(z_scores=z_scores)], [card(2, z_scores={"patches": 0.9})])
    text = " ".join(page.text.split())
    assert "unusual in how things stand 4.1 colours and edges 2.3 <i>own 2.0 ordinary in" in text
    assert "ordinary in textures" in text and "ordinary in everything compared" in text
    assert "2 standard deviations or more above what pictures held out of training" in text
    assert "(column z_<i>own of ranking.csv)" in text, "what is compared is listed"
    assert {"class": "way", "title": "4.06"} in page.all("span"), "exact in the title"
    _, page = sheet(tmp_path, [card()])
    assert "usual in" not in page.text and "ordinary in" not in page.text
    assert "What is compared" not in page.text


def test_where_nothing_is_unusual_by_itself_the_furthest_are_said(tmp_path):
    z_scores = {"patches": 1.2, "histograms": 0.9, "scattering": 1.9}
    _, page = sheet(tmp_path, [card(z_scores=z_scores)])
    text = " ".join(page.text.split())
    assert "somewhat unusual in patterns 1.9 textures 1.2 ordinary in colours and edges" in text


def test_bars_are_as_long_as_a_picture_is_far_out_up_to_the_whole_width(tmp_path):
    far = {"patches": 2.0, "histograms": 4.0, "scattering": 9.0, "components": 1000.0}
    bars = [bar.percent for bar in card(z_scores=far).unusual]
    assert bars == [100, 100, 50, 25]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("reconstruction", "error that is left after the search"),
        ("features", "by several comparisons joined. Pictures"),
        ("all", "of which one is with what the model can draw"),
    ],
)
def test_what_a_score_is_follows_from_what_it_was_scored_by(tmp_path, by, words):
    _, page = sheet(tmp_path, [card()], settings={"by": by})
    assert words in " ".join(page.text.split())


def test_controls_are_offered_only_for_what_is_there(tmp_path):
    for cards, there in [
        ([card()], {"controls", "wanted", "order"}),
        ([card(flagged=True)], {"controls", "wanted", "order", "flagged"}),
        ([card(explanation=WHY)], {"controls", "wanted", "order", "explained"}),
        ([], set()),
    ]:
        _, page = sheet(tmp_path, cards)
        ids = {attrs.get("id") for _, attrs in page.tags}
        assert ids & {"controls", "wanted", "order", "flagged", "explained"} == there
        assert bool(page.all("script")) is bool(there)
    _, page = sheet(tmp_path, [card()])
    (controls,) = [attrs for attrs in page.all("div") if attrs.get("id") == "controls"]
    assert "hidden" in controls, "without a script they would do nothing"


def test_notes_are_read_before_the_pictures(tmp_path):
    html, page = sheet(tmp_path, [card()], notes=["It rains.", "Then <b>sun</b>."])
    assert "It rains." in page.text and "Then <b>sun</b>." in page.text
    assert html.index("It rains.") < html.index("<main>")
    _, page = sheet(tmp_path, [card()])
    assert "notes" not in [attrs.get("class") for attrs in page.all("ul")]


def test_what_pictures_held_out_score_is_drawn_behind_the_others(tmp_path):
    held_out = {"held_out": [1.0] * 6 + [3.0] * 2, "held_out_images": 800}
    _, page = sheet(tmp_path, [card(score=9.0)], scores=[5.0, 9.0], **held_out)
    (path,) = page.all("path")
    tops = [float(step.split("H")[0]) for step in path["d"].split("V")[1:]]
    assert len(tops) == 21 and path["d"].endswith("H100.00V100")
    # two pictures scored, one to a bin; of eight held out six in the first four bins of eighty
    assert (tops[0], tops[5]) == (100 - 100 * 2 * 6 / 8 / 4, 100 - 100 * 2 * 2 / 8 / 4)
    assert "800 held out of training" in page.text
    assert {"title": "1.0"} in page.all("span"), "the axis begins where they do"
    _, page = sheet(tmp_path, [card()])
    assert page.all("path") == []


def test_a_missing_thumbnail_is_said_in_words(tmp_path):
    _, page = sheet(tmp_path, [card(thumbnail=None, name="gone.png")])
    assert page.all("img") == []
    assert "no preview of gone.png" in page.text


@pytest.mark.parametrize(
    ("score", "shown"),
    [
        (1234.5678, "1235"),
        (12345.678, "12350"),
        (0.000123456, "0.0001235"),
        (-3.0, "-3.000"),
        (0.0, "0.000"),
        (1.5e300, "1.500e+300"),
    ],
)
def test_scores_are_rounded_on_screen_and_exact_in_the_title(tmp_path, score, shown):
    _, page = sheet(tmp_path, [card(score=score)])
    assert f"score {shown}\n" in page.text
    assert {"class": "score", "title": repr(score)} in page.all("span")


@pytest.mark.parametrize("href", ["../a.png", None])
def test_opening_the_original_is_offered_where_there_is_a_file_to_open(tmp_path, href):
    _, page = sheet(tmp_path, [card(href=href), card(2, href=None)])
    assert ("select a picture to open the original" in page.text) is (href is not None)


def test_a_png_thumbnail_says_so(tmp_path):
    _, page = sheet(tmp_path, [card(thumbnail=b"\x89PNG not really")])
    assert page.all("img")[0]["src"].startswith("data:image/png;base64,")


def test_small_pictures_keep_their_pixels(tmp_path):
    cards = [card(width=28, height=28), card(width=64, height=64), card(width=65, height=28)]
    _, page = sheet(tmp_path, cards)
    assert [image.get("class") for image in page.all("img")] == ["pixels", "pixels", None]


def test_a_long_name_is_cut_in_the_middle_and_whole_in_the_title(tmp_path):
    name = "f" * 80 + "/begin" + "x" * 300 + "end.png"
    _, page = sheet(tmp_path, [card(name=name)])
    assert "beginxxx" in page.text and "…" in page.text and "xxend.png" in page.text
    assert name not in page.text
    assert {"class": "name", "title": name} in page.all("span")


def test_failures_are_listed_up_to_a_limit(tmp_path):
    failures = [(f"{i}.png", "truncated") for i in range(LISTED_FAILURES + 3)]
    counts = Counts(found=LISTED_FAILURES + 12, scored=9, failed=LISTED_FAILURES + 3)
    _, page = sheet(tmp_path, [card()], counts=counts, failures=failures)
    assert f"{LISTED_FAILURES - 1}.png: truncated" in page.text
    assert f"{LISTED_FAILURES}.png: truncated" not in page.text
    assert "and 3 more, listed in ranking.csv" in page.text
    assert f"{LISTED_FAILURES + 3} could not be read" in page.text


def test_the_histogram_marks_what_is_shown(tmp_path):
    scores = [float(score) for score in range(100)]
    _, page = sheet(tmp_path, [card(1, 99.0), card(2, 98.0)], [card(100, 0.0)], scores=scores)
    bars = page.all("rect")
    last = max(float(bar["x"]) for bar in bars)
    assert all(float(bar["x"]) > 95 for bar in bars if bar["class"] == "most")
    assert [bar["x"] for bar in bars if bar["class"] == "least"] == ["0.0"]
    assert str(last) in [bar["x"] for bar in bars if bar["class"] == "most"]
    assert "most anomalous, from 98.00" in page.text
    assert "least anomalous, up to 0.000" in page.text


@pytest.mark.parametrize("scores", [[2.0], [2.0, 2.0], [1e-320, 2e-320], [0.0, 1e308]])
def test_any_scores_make_a_histogram(tmp_path, scores):
    _, page = sheet(tmp_path, [card(score=scores[-1])], scores=scores)
    assert all(0 <= float(bar["x"]) < 100 for bar in page.all("rect"))
    assert page.all("rect")


def test_a_folder_without_a_readable_picture_has_a_page_too(tmp_path):
    counts = Counts(found=1, scored=0, failed=1)
    _, page = sheet(tmp_path, counts=counts, failures=[("a", "empty")])
    assert "There is no picture to show." in page.text
    assert "1 picture found, 0 scored" in page.text
