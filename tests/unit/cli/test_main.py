import json
import subprocess
import sys

import pytest

from scene_codec.cli import main as command_line
from scene_codec.cli.exit_codes import BUG, CANCELLED, ERROR, OK
from scene_codec.errors import Cancelled, CorruptFileError


def install_command(monkeypatch, run):
    """Make `inspect` do what `run` does."""
    module = type(sys)("scene_codec.cli.made_for_a_test")
    module.run = run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    command = command_line.Command("made_for_a_test", "run", "")
    monkeypatch.setitem(command_line.COMMANDS, "inspect", command)


def raise_(problem):
    def run(_arguments):
        raise problem

    return run


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        (CorruptFileError("'x' is damaged. Get it again."), ERROR, "corrupt-file"),
        (Cancelled("Stopped."), CANCELLED, "cancelled"),
        (KeyboardInterrupt(), CANCELLED, "cancelled"),
        (PermissionError(13, "Permission denied", "x"), ERROR, "error"),
        (ZeroDivisionError("oops"), BUG, "bug"),
    ],
)
def test_every_ending_has_its_status_one_line_and_one_json_object(monkeypatch, capsys, problem, status, code):
    install_command(monkeypatch, raise_(problem))
    assert command_line.main(["inspect", "x", "--json"]) == status
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["code"] == code
    last_lines = [line for line in shown.err.splitlines() if line.startswith("scene-codec: ")]
    assert len(last_lines) == 1


def test_without_json_nothing_but_the_line_is_printed(monkeypatch, capsys):
    install_command(monkeypatch, raise_(CorruptFileError("'x' is damaged. Get it again.")))
    assert command_line.main(["inspect", "x"]) == ERROR
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "scene-codec: 'x' is damaged. Get it again.\n"


def test_an_unknown_command_is_answered_with_the_nearest_one(capsys):
    assert command_line.main(["decod"]) == ERROR
    assert "Perhaps you meant 'decode'" in capsys.readouterr().err


def test_help_names_every_command_and_ends_well(capsys):
    assert command_line.main(["--help"]) == OK
    text = capsys.readouterr().out
    assert all(name in text for name in command_line.COMMANDS)
    assert "Examples" in text


def test_no_command_at_all_is_a_usage_error(capsys):
    assert command_line.main([]) == ERROR
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(command_line.COMMANDS))
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as ending:
        command_line.main([command, "--help"])
    assert ending.value.code == OK
    text = capsys.readouterr().out
    assert f"scene-codec {command}" in text
    assert "--json" in text


def test_the_module_and_the_command_say_the_same_version():
    from scene_codec.cli.main import version

    result = subprocess.run(
        [sys.executable, "-m", "scene_codec", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == f"scene-codec {version('scene-codec')}"
