"""Every detector has words for people, and an unknown one its name."""

from typing import get_args

from adgan_cli.config import By
from adgan_cli.scoring.labels import DETECTOR_LABELS, detector_label


def test_labels_differ_and_end_no_sentence():
    shorts = [label.short for label in DETECTOR_LABELS.values()]
    assert len(set(shorts)) == len(shorts)
    assert not [label for label in DETECTOR_LABELS.values() if label.long.endswith(".")]


def test_the_reconstruction_is_one_of_them():
    assert "reconstruction" in {*get_args(By)} & {*DETECTOR_LABELS}


def test_a_detector_without_words_has_its_name():
    assert detector_label("sonar").short == "sonar"
