"""What is documented is what there is: help, options, examples, version, README."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import adgan_cli
from adgan_cli import cli
from adgan_cli.config import ModelConfig, ReadConfig, SearchConfig, TrainConfig, flag

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "examples/guides").glob("*.md"))


def commands_below(names: Iterable[str]) -> dict[str, Any]:
    """Every command by what a person types: train, cache info, ..."""
    every = {}
    for name in names:
        command = cli.load_command(name)
        below = getattr(command, "commands", None)
        every |= {f"{name} {n}": one for n, one in below.items()} if below else {name: command}
    return every


COMMANDS = commands_below(cli.COMMANDS)
SETTINGS = [
    ("train", ModelConfig), ("train", ReadConfig), ("train", TrainConfig),
    ("score", SearchConfig), ("rank", SearchConfig), ("explain", SearchConfig),
    ("calibrate", SearchConfig),
]  # fmt: skip
# what is taken out of a finished score has no part in the scores that p-values go by; a search is
# explained, whatever else scores go by
LEFT_OUT = {("calibrate", "adjust"), ("explain", "by")}
# what the command line takes beside the field's own values
AUTO = {("train", "channels"), ("train", "iters")}


def settings_of(command: str, config: type) -> list[Any]:
    return [field for field in fields(config) if (command, field.name) not in LEFT_OUT]


def options_of(command: str) -> dict[str, Any]:
    """Every spelling of every option, with its parameter."""
    return {spelling: param for param in COMMANDS[command].params for spelling in param.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name):
    first = COMMANDS[name].help.splitlines()[0]
    assert first[0].isupper() and first.endswith(".")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_that_its_parser_takes(name):
    found = re.search(r"Example: adgan (.+)", " ".join(COMMANDS[name].help.split()))
    assert found, "no example"
    words = shlex.split(found[1])
    typed = name.split()
    assert words[: len(typed)] == typed
    COMMANDS[name].make_context(name, words[len(typed) :])  # raises on an unknown option


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_sentence_of_help(name):
    helps = {param.name: param.help or "" for param in COMMANDS[name].params}
    assert {n: text for n, text in helps.items() if not re.fullmatch(r"[A-Z].*\.", text)} == {}


@pytest.mark.parametrize(("command", "config"), SETTINGS)
def test_every_setting_is_an_option_of_its_command(command, config):
    options = options_of(command)
    assert [f.name for f in settings_of(command, config) if flag(f.name) not in options] == []


@pytest.mark.parametrize(("command", "config"), SETTINGS)
def test_a_setting_is_one_declaration_wherever_it_is_an_option(command, config):
    options = options_of(command)
    for field in settings_of(command, config):
        option = options[flag(field.name)]
        assert option.help.startswith(field.metadata["help"])
        # another default would silently win over the model's or the preset's
        if (command, field.name) not in AUTO:
            assert option.default == (field.default if command == "train" else None)


def test_options_of_one_name_are_one_declaration_unless_they_are_of_other_things():
    helps: dict[str, set[str]] = {}
    for name in COMMANDS:
        for spelling, option in options_of(name).items():
            helps.setdefault(spelling, set()).add(option.help)
    # a note may follow the help of a field
    other = {
        s for s, texts in helps.items() if not all(t.startswith(min(texts, key=len)) for t in texts)
    }
    # what is written, fetched, begun anew or gone on with; of which stage the other settings are
    assert other <= {
        "--out", "-o", "--resume", "--overwrite", "--json", "--preset", "--max-time", "--seed",
        "--precision", "--batch-size", "-b", "--model", "-m", "--download",
    }  # fmt: skip


def test_the_version_stands_in_one_form_everywhere():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{adgan_cli.__version__}"\n' in project


def test_the_changelog_begins_with_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[?v?(\d+\.\d+\S*?)\]?(?=\s|$)", changelog, re.M)
    assert versions[:1] == [adgan_cli.__version__]


def test_all_is_sorted_and_every_name_in_it_is_there():
    assert adgan_cli.__all__ == sorted(set(adgan_cli.__all__))
    assert [n for n in adgan_cli.__all__ if getattr(adgan_cli, n, None) is None] == []
    assert dir(adgan_cli) == adgan_cli.__all__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        adgan_cli.nothing  # noqa: B018


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_readme(name):
    assert f"adgan {name}" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_stands_in_readme_or_a_guide(name):
    text = "".join(path.read_text(encoding="utf-8") for path in [README, *GUIDES])
    words = set(re.findall(r"-[-\w]+", text))
    # arguments have names without a dash
    options = [param.opts for param in COMMANDS[name].params if param.opts[0].startswith("-")]
    assert [spellings for spellings in options if not words & set(spellings)] == []


def test_the_readme_is_read_in_two_screens():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 180


def test_links_lead_to_files_and_headings():
    for page in [README, *GUIDES, *(ROOT / "examples/results").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                path, _, heading = target.partition("#")
                file = page.parent / path if path else page
                assert file.exists(), f"{page.name}: {target}"
                assert not heading or heading in headings(file), f"{page.name}: {target}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_s_python_runs(discs, tmp_path, monkeypatch, capsys):
    discs(24, name="bedrooms")
    discs(5, shape="square", name="val")
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    for written, smaller in (("iters=5000", "iters=1, encoder_iters=1"), ("32)", "32, width=4)")):
        assert written in code
        code = code.replace(written, smaller, 1)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 5
