"""The examples start: what they import is there, and the shell scripts parse."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted([*EXAMPLES.glob("*.py"), *EXAMPLES.glob("experiments/*.py")])


def run(monkeypatch: pytest.MonkeyPatch, script: Path, *words: str) -> None:
    """Run a script in this process, where torch is imported already."""
    monkeypatch.setattr(sys, "argv", [str(script), *words])
    monkeypatch.syspath_prepend(str(script.parent))
    runpy.run_path(str(script), run_name="__main__")


def test_every_script_explains_itself(monkeypatch, capsys):
    for script in SCRIPTS:
        if "parse_args" in script.read_text("utf-8"):
            with pytest.raises(SystemExit, match="0"):
                run(monkeypatch, script, "--help")
            assert f"usage: {script.name}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_generator_of_ones_own_can_be_searched(monkeypatch, capsys):
    run(monkeypatch, EXAMPLES / "own_generator.py")
    search, projection = capsys.readouterr().out.splitlines()
    assert float(search.split()[2].rstrip(",")) > 0.95
    assert float(projection.split()[2].rstrip(",")) > 0.95


@pytest.mark.parametrize("script", sorted(EXAMPLES.rglob("*.sh")), ids=lambda path: path.name)
def test_every_shell_script_parses(script):
    subprocess.run(["bash", "-n", script], check=True)
