"""What detectors are called where people read, and what each compares; no torch in here."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DetectorLabel:
    """The words for one detector."""

    short: str  # reads well after "unusual in"
    long: str  # what is compared, as part of a sentence


# by the detectors' names, as they stand in the columns z_... of a table
DETECTOR_LABELS: Mapping[str, DetectorLabel] = {
    "transformations": DetectorLabel(
        "how things stand",
        "how surely a small network, trained on this set, tells how the picture was turned and "
        "shifted",
    ),
    "patches": DetectorLabel(
        "textures", "pieces of a few pixels, in the words of a dictionary of this set's own pieces"
    ),
    "scattering": DetectorLabel(
        "patterns", "edges and ripples of all sizes and directions, and where they go together"
    ),
    "histograms": DetectorLabel(
        "colours and edges", "colours and directions of edges, part of the picture by part"
    ),
    "components": DetectorLabel(
        "light and dark",
        "what is left of the picture where large shapes are drawn by principal components",
    ),
    "local": DetectorLabel(
        "single places", "the places that are the least like pieces of a few pixels of this set"
    ),
    "pretrained": DetectorLabel(
        "what is shown", "what a network sees that was trained on pictures from elsewhere"
    ),
    "reconstruction": DetectorLabel(
        "its reconstruction", "what is left after the search in what the model can draw"
    ),
}


def detector_label(name: str) -> DetectorLabel:
    """Return the words for a detector; its name for one that has none here."""
    return DETECTOR_LABELS.get(name) or DetectorLabel(name, name)
