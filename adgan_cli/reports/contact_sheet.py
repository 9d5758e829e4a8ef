"""Show the most and the least anomalous images on one page that needs nothing else: index.html."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from adgan_cli.reports.explanation import Explanation
from adgan_cli.reports.page import require_local_link, write_page
from adgan_cli.scoring.labels import detector_label
from adgan_cli.scoring.rows import Counts

LISTED_FAILURES = 200  # ranking.csv has them all
UNUSUAL = 2.0  # standard deviations; one in twenty to forty ordinary images is beyond it
SOMEWHAT = 1.0  # one in six; said where nothing is unusual
_FULL_BAR = 8.0  # standard deviations
_BINS = 80
_BINS_PER_STEP = 4  # of the outline


@dataclass(frozen=True)
class Card:
    """One image on the sheet."""

    rank: int
    score: float
    name: str  # the path, as in the table
    href: str | None  # relative to the page, percent-encoded
    thumbnail: bytes | None  # JPEG, or PNG for tiny images; None shows a placeholder
    width: int  # of the original, pixels
    height: int
    p_value: float | None = None  # None: there is none, and none is shown
    in_training: bool = False  # the model was trained on it
    flagged: bool = False  # beyond the cut that was chosen
    explanation: Explanation | None = None
    z_scores: Mapping[str, float] = field(default_factory=dict)  # of each detector by its name

    def __post_init__(self) -> None:
        require_local_link(self.href)

    @property
    def is_unusual(self) -> bool:
        """Whether the image is unusual by one detector alone, not only by all joined."""
        return any(z >= UNUSUAL for z in self.z_scores.values())

    @property
    def unusual(self) -> list["DetectorBar"]:
        """The detectors by which it is unusual, at least somewhat, the furthest out first."""
        bars = [DetectorBar(name, z) for name, z in self.z_scores.items() if z >= self._least]
        return sorted(bars, key=attrgetter("z_score"), reverse=True)

    @property
    def ordinary(self) -> list[str]:
        """The labels of the other detectors."""
        return [detector_label(name).short for name, z in self.z_scores.items() if z < self._least]

    @property
    def _least(self) -> float:
        return UNUSUAL if self.is_unusual else SOMEWHAT


@dataclass(frozen=True)
class DetectorBar:
    """How far out an image is by one detector."""

    detector: str
    z_score: float

    @property
    def label(self) -> str:
        """What it compares, for people."""
        return detector_label(self.detector).short

    @property
    def percent(self) -> float:
        """The length of the bar."""
        return 100 * min(max(self.z_score, 0.0), _FULL_BAR) / _FULL_BAR


@dataclass(frozen=True)
class _Bar:
    """One bar of the histogram; heights in percent of the drawing."""

    x: float
    width: float
    total: float
    most: float  # the part that is shown among the most anomalous
    least: float


def write_contact_sheet(
    path: Path,
    *,
    title: str,
    most: Sequence[Card],
    least: Sequence[Card],
    counts: Counts,
    settings: Mapping[str, str],
    failures: Sequence[tuple[str, str]],
    scores: Sequence[float],
    held_out: Sequence[float] = (),
    held_out_images: int | None = None,
    notes: Sequence[str] = (),
    report: str = "",
) -> None:
    """Write the sheet: cards in the order given, failures as (name, reason), all scores.

    held_out: scores of images held out of training, drawn behind the others, or as many of them as
    show their distribution; held_out_images: how many there were. notes: sentences to be read
    first. report: what a browser keeps marks by; a page of the same pictures has the same.
    """
    cards = [*most, *least]
    names = dict.fromkeys(name for card in cards for name in card.z_scores)
    write_page(
        path,
        "contact_sheet.html",
        "contact_sheet.js" if cards else "",
        title=title,
        report=report,
        sections=[
            {"id": "most", "heading": "most anomalous", "cards": most},
            {"id": "least", "heading": "least anomalous", "cards": least},
        ],
        counts=counts,
        settings=settings,
        failures=failures[:LISTED_FAILURES],
        failures_not_listed=max(0, len(failures) - LISTED_FAILURES),
        scores=sorted(scores),
        most_from=min((card.score for card in most), default=None),
        least_to=max((card.score for card in least), default=None),
        **_histogram(scores, most, least, held_out),
        held_out_images=held_out_images or len(held_out),
        notes=notes,
        explained_by=_captions([card.explanation for card in cards if card.explanation]),
        detectors=[(name, detector_label(name)) for name in names],
        unusual=UNUSUAL,
        somewhat=SOMEWHAT,
        by=settings.get("by", "reconstruction"),
        with_p=any(card.p_value is not None for card in cards),
        with_flagged=any(card.flagged for card in cards),
    )


def _captions(explanations: Sequence[Explanation]) -> list[str]:
    """Say, in sentences, what the small images beside the pictures are."""
    captions = []
    if any(one.reconstruction for one in explanations):
        captions.append("Reconstruction: the nearest the model came, in the square it works on.")
    fulls = [one.full for one in explanations if one.difference and one.full is not None]
    if fulls:
        captions.append(
            "Difference: the brighter, the further apart; palest from "
            f"{max(fulls)} of 255 grey levels."
        )
    if any(one.difference and one.full is None for one in explanations):
        captions.append(
            "Unlike training: the brighter a place, the less training pictures have the like of it."
        )
    if explanations and not any(one.reconstruction for one in explanations):
        captions.append(
            "This model has no generator; with one, each card would also show what the model had "
            "expected instead of the picture."
        )
    return captions


def _histogram(
    scores: Sequence[float], most: Sequence[Card], least: Sequence[Card], held_out: Sequence[float]
) -> dict[str, object]:
    """Draw bars, the outline of held-out scores (an SVG path) and the ends of the axis."""
    if not scores:
        return {"bars": [], "outline": "", "axis": (0.0, 0.0)}
    low, high = min(*scores, *held_out, scores[0]), max(*scores, *held_out, scores[0])
    most_from = min((card.score for card in most), default=float("inf"))
    least_to = max((card.score for card in least), default=float("-inf"))

    def bin_of(score: float) -> int:
        share = (score - low) / (high - low) if high > low else 0.5
        return min(int(share * _BINS), _BINS - 1)

    counts = [[0, 0, 0] for _ in range(_BINS)]
    for score in scores:
        count = counts[bin_of(score)]
        count[0] += 1
        count[1] += score >= most_from
        count[2] += score <= least_to and score < most_from
    # as if there were as many images as are scored; few of them must not look like a comb
    expected = [0.0] * (_BINS // _BINS_PER_STEP)
    for score in held_out:
        step = bin_of(score) // _BINS_PER_STEP
        expected[step] += len(scores) / len(held_out) / _BINS_PER_STEP
    tallest = max(*expected, *(total for total, _, _ in counts))
    bars = [
        _Bar(
            x=i * 100 / _BINS,
            width=80 / _BINS,
            total=_height(total, tallest),
            most=_height(total, tallest) * n_most / total,
            least=_height(total, tallest) * n_least / total,
        )
        for i, (total, n_most, n_least) in enumerate(counts)
        if total
    ]
    steps = "".join(
        f"V{100 - 100 * count / tallest:.2f}H{(i + 1) * 100 * _BINS_PER_STEP / _BINS:.2f}"
        for i, count in enumerate(expected)
    )
    outline = f"M0 100{steps}V100" if held_out else ""
    return {"bars": bars, "outline": outline, "axis": (low, high)}


def _height(count: int, tallest: float) -> float:
    return max(3.0, 100 * count / tallest)  # a single outlier must be visible beside thousands
