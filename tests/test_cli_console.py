"""What the commands say, and how they are stopped."""

import io
import signal

import pytest
import typer
from rich.console import Console

from adgan_cli.cli.console import (
    STOP_SIGNALS,
    Reporter,
    errors_as_lines,
    escape_control,
    format_duration,
    interrupt_on_signals,
    status,
    wrapped,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (8.4, "8 s"), (99.4, "99 s"), (99.6, "2 min"), (720, "12 min"),
        (99.4 * 60, "99 min"), (12600, "3.5 h"),
    ],
)  # fmt: skip
def test_durations_are_written_in_the_unit_that_fits(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("é 😀.png", "é 😀.png"),
        ("two\nlines\r.png", r"two\nlines\r.png"),
        ("bad\udcff.png", r"bad\udcff.png"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("right\u202eto left", r"right\u202eto left"),
    ],
)
def test_names_are_escaped_to_one_line(name, shown):
    assert escape_control(name) == shown
    assert escape_control(name).encode("utf-8")


@pytest.mark.parametrize("name", ["[bold]a[/bold]", "[/]", ":smile:.png", "x" * 500, "a  b\\[c"])
def test_a_name_is_said_as_it_is(name, capsys):
    status(name)  # not markup, not an emoji, not broken over lines
    out, err = capsys.readouterr()
    assert (out, err) == ("", name + "\n")


def test_a_name_with_line_ends_and_broken_bytes_is_said_on_one_line(capsys):
    status("cannot read a\nb\udcff.png")
    assert capsys.readouterr().err == "cannot read a\\nb\\udcff.png\n"


def test_there_is_no_bar_where_there_is_no_terminal(capsys):
    with Reporter().counting_bar() as bar:
        bar.update(bar.add_task("reading", total=3), completed=3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_only_asks_to_stop(number, capsys):
    with Reporter().stop_on_signal("stopping...") as stop_requested:
        assert not stop_requested()
        signal.raise_signal(number)
        assert stop_requested()
    assert capsys.readouterr() == ("", "stopping...\n")


@pytest.fixture
def handlers():
    """The handlers of all signals that stop a command, put back afterwards."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS[1:])
def test_a_signal_outside_such_a_block_ends_the_command_with_a_line(number, handlers, capsys):
    signal.signal(number, signal.SIG_DFL)
    interrupt_on_signals()
    with pytest.raises(typer.Exit) as ended, errors_as_lines():
        signal.raise_signal(number)
    assert ended.value.exit_code == 130
    assert capsys.readouterr() == ("", "stopped before it was done\n")


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_that_is_ignored_from_the_start_stays_so(number, handlers):
    signal.signal(number, signal.SIG_IGN)
    interrupt_on_signals()
    with Reporter().stop_on_signal("stopping...") as stop_requested:
        signal.raise_signal(number)
        assert not stop_requested(), "nohup"


def test_on_a_terminal_lines_break_between_words():
    console = Console(file=io.StringIO(), force_terminal=True, width=20, height=9)
    path = "/a/path/that-is/longer-than.a.line"
    text = wrapped(f"warning: left out {path} as it is", console, indent=2)
    assert text.split("\n") == ["warning: left out", f"  {path}", "  as it is"]
    elsewhere = Console(file=io.StringIO(), width=20)
    assert wrapped("word " * 20, elsewhere) == "word " * 20


def test_the_second_ctrl_c_ends_the_command():
    with pytest.raises(KeyboardInterrupt), Reporter().stop_on_signal("stopping..."):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_signals_mean_what_they_meant_before_once_the_block_is_left():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ValueError), Reporter().stop_on_signal("stopping..."):
        assert signal.getsignal(signal.SIGINT) is not before[0]
        raise ValueError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_quiet_command_stops_without_a_word(capsys):
    with Reporter(quiet=True).stop_on_signal("stopping...") as stop_requested:
        signal.raise_signal(signal.SIGINT)
        assert stop_requested()
    assert capsys.readouterr() == ("", "")
