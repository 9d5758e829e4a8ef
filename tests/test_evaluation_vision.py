"""torchvision is imported beside any torch, or the remedy is told."""

import json
import subprocess
import sys

import pytest

# what is in sys.argv holds a torchvision each; loading torch once is enough for all of them
SCRIPT = """
import json, sys
from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.vision import torchvision
told = []
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    try:
        told.append(f"{torchvision().worked} {torchvision() is torchvision()}")
    except ConfigError as error:
        told.append(str(error))
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
print(json.dumps(told))
"""
# as torchvision does where its library of operators is missing
NEEDS_OPERATORS = """
import torch, torchvision.part
torchvision.part.__name__  # not there if only the package is imported again
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        raise RuntimeError(f"operator torchvision::{name} does not exist")
worked = "worked"
"""
PACKAGES = {
    "needs operators": NEEDS_OPERATORS,
    "broken": 'raise ImportError("libc10.so is missing\\nmore")',
    "incomplete": "import torchvision.nothing",
    "for ever": 'raise RuntimeError("operator torchvision::roll does not exist")',
    "absent": 'raise ModuleNotFoundError("none", name="torchvision")',
}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, str]:
    """What comes of importing each of the packages."""
    folders = []
    for text in PACKAGES.values():
        folder = tmp_path_factory.mktemp("package")
        (folder / "torchvision").mkdir()
        (folder / "torchvision" / "__init__.py").write_text(text, encoding="utf-8")
        (folder / "torchvision" / "part.py").write_text("", encoding="utf-8")
        folders.append(str(folder))
    command = [sys.executable, "-c", SCRIPT, *folders]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(zip(PACKAGES, json.loads(ended.stdout), strict=True))


def test_missing_operators_are_declared(told):
    assert told["needs operators"] == "worked True"


@pytest.mark.parametrize(
    "package, reason",
    [
        ("broken", "(libc10.so is missing)"),
        ("incomplete", "(No module named 'torchvision.nothing')"),
        ("for ever", "(operator torchvision::roll does not exist)"),
        ("absent", "torchvision is not installed"),
    ],
)
def test_what_cannot_be_imported_ends_with_the_remedy(told, package, reason):
    assert reason in told[package]
    assert "install the torchvision that fits torch" in told[package]
    assert "\n" not in told[package]
