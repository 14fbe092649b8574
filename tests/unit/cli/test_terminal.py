import io
import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

from scene_codec.cli.terminal import (
    duration,
    prepare_streams,
    print_json,
    print_table,
    progress_bar,
    ratio,
    shown,
    size,
)


@settings(derandomize=True, max_examples=100)
@given(st.text())
def test_text_from_a_file_cannot_control_the_terminal(text):
    plain = Text.from_markup(shown(text)).plain
    assert all(character.isprintable() for character in plain)


def test_markup_in_a_name_is_shown_and_not_obeyed(capsys):
    print_table("t", ("object",), [(shown("[bold]Cube[/bold] \x1b[31m"),)])
    assert "[bold]Cube[/bold] \\u001b[31m" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (9_999, "9,999 B"), (10_000, "10.0 KB"), (999_600, "1.00 MB"), (2_500_000_000, "2.50 GB")],
)
def test_sizes_read_well(count, text):
    assert size(count) == text


def test_a_ratio_without_both_sizes_is_a_dash():
    assert ratio(0, 5) == "-"
    assert ratio(5, 0) == "-"
    assert ratio(30, 10) == "3.0x"


@pytest.mark.parametrize(("seconds", "text"), [(4.23, "4.2 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def test_json_is_utf8_whatever_the_terminal_speaks(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    print_json({"name": "花瓶"})
    assert json.loads(raw.getvalue()) == {"name": "花瓶"}


def test_a_terminal_without_unicode_shows_escapes_instead_of_failing(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    prepare_streams()
    sys.stdout.write("花")
    sys.stdout.flush()
    assert raw.getvalue() == b"\\u82b1"


def test_no_bar_is_drawn_where_stderr_is_no_terminal(capsys):
    with progress_bar() as callback:
        assert callback is None
    assert capsys.readouterr().err == ""
