"""Options come from settings classes: their help, their choices and their defaults."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, fields
from typing import Annotated, get_args

import pytest
import typer
from typer.testing import CliRunner

from adgan_cli.cli.signature import Fields, Overrides, Shown, with_options
from adgan_cli.config import ModelConfig, ReadConfig, SearchConfig, TrainConfig, flag


@dataclass(frozen=True)
class Inner:
    name: Annotated[str, typer.Option("-n", "--name", help="A name.")] = "nobody"


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    times: Annotated[int, typer.Option(help="A number.")] = 1
    search: Annotated[Overrides[SearchConfig], Fields(only=("k", "theta"))]


def run(*args: str) -> tuple[int, list[object]]:
    """Exit code of a command with these options, and what it received."""
    received: list[object] = []
    app = typer.Typer()

    @app.command()
    @with_options
    def command(
        *,
        outer: Outer,
        training: Annotated[Overrides[TrainConfig], Fields(TrainConfig())],
        reading: ReadConfig,
        limit: Annotated[str | None, typer.Option(help="A limit."), Shown("30m")] = None,
    ) -> None:
        received.extend([outer, training, reading, limit])

    return CliRunner().invoke(app, args).exit_code, received


def test_a_command_receives_objects():
    assert run() == (
        0, [Outer(inner=Inner(), search=Overrides({})), Overrides({}), ReadConfig(), None]
    )  # fmt: skip
    args = "-n me --times 2 --k 0 --theta none --objective vae --no-flip -b 64 --fit pad --limit 1h"
    outer = Outer(inner=Inner("me"), times=2, search=Overrides({"k": 0, "theta": "none"}))
    given = Overrides({"objective": "vae", "flip": False, "batch_size": 64})
    assert run(*args.split()) == (0, [outer, given, ReadConfig("pad"), "1h"])


def test_only_what_the_command_line_gives_replaces_the_default():
    # 5 is the class's default, and was given: it wins over the preset's
    base = SearchConfig(k=25, n_seed=8)
    assert Overrides[SearchConfig]({"k": 5}).over(base) == SearchConfig(k=5, n_seed=8)
    _, (_, training, *_) = run("--iters", str(TrainConfig.iters))
    assert training == Overrides({"iters": TrainConfig.iters})


@pytest.mark.parametrize("args", ["--theta some", "--n-seed 3", "--objective gun", "--fit fill"])
def test_other_choices_and_fields_are_refused(args):
    assert run(*args.split()) == (2, [])


def help_of(*command: str, columns: int = 300) -> str:
    """What --help prints in a terminal of so many columns."""
    width = {"TERMINAL_WIDTH": str(columns), "COLUMNS": str(columns)}
    ended = subprocess.run(
        [sys.executable, "-m", "adgan_cli", *command, "--help"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **width, "PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    return ended.stdout


def row_of(text: str, name: str) -> str:
    """What help shows of an option, which 300 columns do not always hold in a line."""
    below = text[re.search(rf"^│ +{flag(name)}\b", text, re.M).start() :]  # type: ignore[union-attr]
    return re.split(r"\n(?:│ +-|╰)", below)[0]


def test_help_of_train_shows_groups_choices_and_defaults():
    text = help_of("train")
    panels = re.findall(r"^╭─ (.+?) ─+╮$", text, re.M)
    assert panels == [
        "Arguments", "Options", "Training", "Model", "Features", "Pictures", "Output", "Machine",
        "Cache",
    ]  # fmt: skip
    for config in (ModelConfig, TrainConfig, ReadConfig):
        for field in fields(config):
            row, default = row_of(text, field.name), field.default
            if field.type is bool:
                default = field.name if default else f"no-{field.name}"
            assert f"[default: {'auto' if field.name == 'channels' else default}]" in row
            assert all(str(choice) in row for choice in get_args(field.type))


def test_help_of_rank_shows_choices_and_whose_defaults_hold():
    text = help_of("rank")
    assert "─ Search (default: the model's own settings) ─" in text
    for field in fields(SearchConfig):
        row = row_of(text, field.name)
        assert "default:" not in row
        assert all(str(choice) in row for choice in get_args(field.type))


def test_help_says_in_a_line_of_100_columns_what_each_command_does():
    text = help_of(columns=100)
    commands = text[text.index("─ Commands ─") :].splitlines()
    lines = [line for line in commands if line.startswith("│")]
    assert len(lines) == 10
    for line in lines:
        assert re.fullmatch(r"│ [a-z]+ +[A-Z][^.]*[^.]\. +│", line)
