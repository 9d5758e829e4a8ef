"""adgan: find the pictures in a folder that do not belong there, without labels.

The commands' work as functions, for people who write Python. Names are resolved when first used,
so importing adgan_cli costs nothing until torch is needed.
"""

from importlib import import_module
from typing import Any

__version__ = "0.5.0"

_HOMES = {
    "AdganError": "adgan_cli.errors",
    "ReadConfig": "adgan_cli.config",
    "ModelConfig": "adgan_cli.config",
    "TrainConfig": "adgan_cli.config",
    "SearchConfig": "adgan_cli.config",
    "PRESETS": "adgan_cli.presets",
    "Selection": "adgan_cli.images.selection",
    "find_images": "adgan_cli.images.find",
    "read_image": "adgan_cli.images.read",
    "Model": "adgan_cli.engine.models.model",
    "load_model": "adgan_cli.engine.models.files",
    "save_model": "adgan_cli.engine.models.files",
    "SearchResult": "adgan_cli.engine.search.searcher",
    "search": "adgan_cli.engine.search.searcher",
    "starting_points": "adgan_cli.engine.search.algorithm1",
    "train": "adgan_cli.fitting.train",
    "TrainingRun": "adgan_cli.fitting.run",
    "TrainingSettings": "adgan_cli.fitting.settings",
    "score": "adgan_cli.scoring.run",
    "ScoringRun": "adgan_cli.scoring.run",
    "rank": "adgan_cli.reports.rank",
    "roc_auc": "adgan_cli.evaluation.metrics",
    "ScoreRow": "adgan_cli.scoring.rows",
    "read_scores": "adgan_cli.scoring.rows",
    "write_contact_sheet": "adgan_cli.reports.contact_sheet",
}

__all__ = sorted([*_HOMES, "__version__"])  # noqa: PLE0605  test_docs.py holds it importable


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # from now on without this function
    return value


def __dir__() -> list[str]:
    return __all__
