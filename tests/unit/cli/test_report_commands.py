import json
import subprocess
import sys

import numpy as np
import pytest

import scene_codec
from scene_codec.bitstream import ObjectRecord, SceneContent, Section, write_scene_file
from scene_codec.cli import doctor
from scene_codec.cli.main import main
from scene_codec.codecs.registry import all_codecs
from scene_codec.errors import CorruptFileError


@pytest.fixture
def scene_file(tmp_path):
    """A container with two objects and sections that no codec knows."""
    path = tmp_path / "scene.nscene"
    records = tuple(
        ObjectRecord(name=name, sections=(Section(kind=40, payload=b"12345"),)) for name in ("花瓶", "Cube")
    )
    write_scene_file(path, SceneContent("unheard-of", 7, (Section(kind=3, payload=b"x" * 99),), records))
    return path


def test_inspect_adds_up_to_the_whole_file(scene_file, capsys):
    assert main(["inspect", str(scene_file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    parts = report["header_bytes"] + sum(part["bytes"] for part in report["shared"])
    assert parts + sum(item["bytes"] for item in report["objects"]) == scene_file.stat().st_size
    assert [item["name"] for item in report["objects"]] == ["花瓶", "Cube"]


def test_inspect_shows_every_object_and_the_total(scene_file, capsys):
    assert main(["inspect", str(scene_file)]) == 0
    text = capsys.readouterr().out
    assert "花瓶" in text
    assert "unheard-of" in text
    assert f"{scene_file.stat().st_size} B" in text


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_inspect_of_a_damaged_file_fails_and_shows_what_can_be_read(flags, scene_file, capsys):
    content = bytearray(scene_file.read_bytes())
    content[-1] ^= 1  # of the last section, that of the cube
    scene_file.write_bytes(content)
    assert main(["inspect", str(scene_file), *flags]) == 2
    shown = capsys.readouterr()
    assert "花瓶" in shown.out
    words = " ".join(shown.err.split())
    assert "the section of kind 40 of object 'Cube'" in words
    assert "damaged, its checksum does not match" in words
    assert "花瓶" not in words
    if flags:
        (sentence,) = json.loads(shown.out)["damage"]
        assert "'Cube'" in sentence


def test_inspect_names_all_that_is_damaged(scene_file, capsys):
    content = bytearray(scene_file.read_bytes())
    content[-5 - 5 - 1] ^= 1  # the end of the shared section
    content[-1] ^= 1
    scene_file.write_bytes(content)
    assert main(["inspect", str(scene_file)]) == 2
    words = " ".join(capsys.readouterr().err.split())
    assert "kind 3 of the shared part" in words
    assert "kind 40 of object 'Cube'" in words


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_inspect_of_a_file_with_a_damaged_header_fails(flags, scene_file, capsys):
    content = bytearray(scene_file.read_bytes())
    content[40] ^= 1
    scene_file.write_bytes(content)
    assert main(["inspect", str(scene_file), *flags]) == 2
    shown = capsys.readouterr()
    assert "header" in shown.err
    assert not flags or json.loads(shown.out)["error"]["code"] == "corrupt-file"


def test_what_a_codec_cannot_say_of_a_damaged_object_is_left_out(tmp_path, capsys):
    path = tmp_path / "a.nscene"
    sources = [tmp_path / "a.npy", tmp_path / "b.npy"]  # a file of one small object has one checksum
    for source in sources:
        np.save(source, np.arange(64, dtype=np.float32).reshape(4, 4, 4))
    scene_codec.encode(sources, path)
    items = scene_codec.inspect(path).objects
    assert [item.name for item in items] == ["a", "b"]
    assert all(item.details for item in items)
    content = bytearray(path.read_bytes())
    content[-sum(part.bytes for item in items for part in item.sections)] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="object 'a'"):
        scene_codec.inspect(path)
    summary = scene_codec.inspect(path, check=True)
    assert not summary.objects[0].details
    assert summary.objects[1].details
    assert len(summary.damage) == 1
    assert main(["inspect", str(path)]) == 2
    assert "object 'a'" in capsys.readouterr().err


def test_inspect_loads_no_torch(scene_file):
    script = (
        "import sys; from scene_codec.cli.main import main; status = main(['inspect', sys.argv[1]]);"
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    subprocess.run([sys.executable, "-c", script, str(scene_file)], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("arguments", [("FILE",), ("FILE", "--json"), ("missing", "--json")])
def test_a_reader_that_left_is_no_reason_for_a_traceback(scene_file, arguments):
    words = [str(scene_file) if word == "FILE" else word for word in arguments]
    command = [sys.executable, "-m", "scene_codec", "inspect", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert b"Traceback" not in errors


def test_list_codecs_names_every_codec_and_preset(capsys):
    assert main(["list-codecs"]) == 0
    text = capsys.readouterr().out
    for name, codec in all_codecs().items():
        assert name in text
        assert all(f"--preset {preset}" in text for preset in codec.info.presets)


def test_list_codecs_speaks_json(capsys):
    assert main(["list-codecs", "--json"]) == 0
    assert [codec["name"] for codec in json.loads(capsys.readouterr().out)] == list(all_codecs())


def test_doctor_finds_this_installation_ready(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ready"]
    assert report["device"] in {"cpu", "cuda"}


def test_doctor_says_what_to_do_about_a_broken_package(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "MODULES", {**doctor.MODULES, "libigl": "no_such_module_anywhere"})
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "MISSING" in text
    assert "pip install --force-reinstall libigl" in text


def test_a_report_never_replaces_a_file_that_is_no_report(tmp_path, capsys):
    precious = tmp_path / "scene.nscene"
    precious.write_bytes(b"precious")
    assert main(["evaluate", str(precious), "--reference", str(tmp_path), "--json", str(precious)]) == 2
    assert "no .json file" in capsys.readouterr().err
    assert precious.read_bytes() == b"precious"


def test_evaluating_without_samples_is_refused(tmp_path, capsys):
    assert main(["evaluate", "x.nscene", "--reference", str(tmp_path), "--samples", "0"]) == 2
    assert "at least one" in capsys.readouterr().err
