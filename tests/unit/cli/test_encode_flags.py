import msgspec
import numpy as np
import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec import api
from scene_codec.bitstream import ObjectRecord, SceneContent, write_scene_file
from scene_codec.cli.arguments import EncodeArguments, parse
from scene_codec.cli.codec_settings import changed_settings, given_settings
from scene_codec.cli.main import main
from scene_codec.codecs.registry import all_codecs


def parse_encode(preset, *words):
    default = EncodeArguments(inputs=tyro.MISSING, output=tyro.MISSING, settings=preset)
    return parse(EncodeArguments[type(preset)], "encode", "", ["a.obj", "-o", "x.nscene", *words], default)


CASES = [(codec, preset) for codec in all_codecs().values() for preset in codec.info.presets]


@pytest.mark.parametrize(("codec", "preset"), CASES)
def test_a_preset_without_flags_stays_as_it_is(codec, preset):
    chosen = codec.settings(preset, {})
    assert changed_settings(parse_encode(chosen).settings, chosen) == {}


@pytest.mark.parametrize("codec", all_codecs().values())
def test_every_setting_is_a_flag_with_help(codec, capsys):
    chosen = codec.settings(None, {})
    with pytest.raises(SystemExit):
        parse_encode(chosen, "--help")
    text = capsys.readouterr().out
    for field in msgspec.structs.fields(chosen):
        assert f"-{field.name.replace('_', '-')}" in text


@settings(derandomize=True, max_examples=25)
@given(st.integers(min_value=1, max_value=10_000))
def test_a_flag_changes_its_setting_and_nothing_else(count):
    chosen = all_codecs()["mesh-necgs"].settings(None, {})
    changed = changed_settings(parse_encode(chosen, "--minimum-steps", str(count)).settings, chosen)
    assert changed == ({} if count == chosen.minimum_steps else {"minimum_steps": count})


def test_a_misspelt_flag_is_answered_with_the_right_one(capsys):
    with pytest.raises(SystemExit) as ending:
        parse_encode(all_codecs()["mesh-necgs"].settings(None, {}), "--resoluton", "64")
    assert ending.value.code == 2
    assert "--resolution" in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--psnr", "45"], ["--psnr=45.0"]])
@pytest.mark.parametrize("beside", [[], ["--max-error", "1"], ["--lossless"]])
def test_a_flag_with_the_value_of_the_preset_counts_as_given(flag, beside):
    chosen = all_codecs()["volume-wavelet"].settings(None, {})
    words = [*flag, *beside]
    given = given_settings(parse_encode(chosen, *words).settings, chosen, words)
    assert given["psnr"] == chosen.psnr == 45.0
    assert len(given) == 1 + bool(beside)


def test_two_targets_are_refused_whatever_their_values(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 2), np.float32))
    words = [str(tmp_path / "a.npy"), "-o", str(tmp_path / "a.nscene"), "--psnr", "45", "--max-error", "1"]
    assert main(["encode", *words]) == 2
    assert "exactly one of" in capsys.readouterr().err
    assert not (tmp_path / "a.nscene").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "preset balanced,"),
        (["--psnr", "45"], "preset balanced,"),
        (["--preset", "small"], "preset small,"),
        (["--max-error", "0.5"], "preset balanced changed to no psnr, max error 0.5,"),
        (["--lossless", "--tile", "64"], "preset balanced changed to no psnr, lossless, tile 64,"),
    ],
)
def test_the_report_says_what_was_in_force(flags, words, tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.arange(64, dtype=np.float32).reshape(4, 4, 4))
    assert main(["encode", str(tmp_path / "a.npy"), "-o", str(tmp_path / "a.nscene"), *flags]) == 0
    assert words in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def volume_file(tmp_path, capsys):
    """A file with one volume, and another volume beside it."""
    for name, power in (("a", 1), ("b", 2)):
        np.save(tmp_path / f"{name}.npy", np.arange(64, dtype=np.float32).reshape(4, 4, 4) ** power)
    path = tmp_path / "v.nscene"
    assert main(["encode", str(tmp_path / "a.npy"), "-o", str(path)]) == 0
    capsys.readouterr()
    return path


def test_what_is_added_gets_settings_of_its_own(volume_file, capsys):
    assert main(["add", str(volume_file), str(volume_file.with_name("b.npy")), "--max-error", "0.25"]) == 0
    assert "preset balanced changed to no psnr, max error 0.25," in " ".join(capsys.readouterr().out.split())
    first, second = (item.details["grids"][0] for item in api.inspect(volume_file).objects)
    assert first["psnr"] >= 45.0
    assert second["max_error"] <= 0.25


@pytest.mark.parametrize("preset", ["lossless", "small"])
def test_what_is_added_gets_the_preset_that_is_named_in_front_of_the_file(preset, volume_file, capsys):
    words = ["--preset", preset, str(volume_file), str(volume_file.with_name("b.npy"))]
    assert main(["add", *words]) == 0
    assert f"preset {preset}," in " ".join(capsys.readouterr().out.split())
    reached = api.inspect(volume_file).objects[1].details["grids"][0]["max_error"]
    assert (reached == 0.0) == (preset == "lossless")


def empty_file(path, codec):
    """A file of a codec, of which its header alone can be read."""
    record = ObjectRecord(name="one", sections=())
    write_scene_file(path, SceneContent(codec.info.name, codec.payload_version, (), (record,)))
    return path


@pytest.mark.parametrize("codec", all_codecs().values())
def test_help_of_add_shows_the_settings_of_the_files_codec_and_what_is_fixed(codec, tmp_path, capsys):
    path = empty_file(tmp_path / "one.nscene", codec)
    with pytest.raises(SystemExit) as ending:
        main(["add", str(path), "--help"])
    assert ending.value.code == 0
    text = capsys.readouterr().out
    assert f"are those of {codec.info.name}, the file's codec" in " ".join(text.split())
    for field in msgspec.structs.fields(codec.settings(None, {})):
        assert f"-{field.name.replace('_', '-')}" in text
    for name in codec.info.fixed_settings:
        assert name in text


@pytest.mark.parametrize(
    ("codec", "flags", "name"),
    [("mesh-necgs", ["--resolution", "64"], "resolution"), ("volume-vae", ["--model", "rate"], "model")],
)
def test_what_holds_for_the_whole_file_cannot_be_changed_for_what_is_added(
    codec, flags, name, tmp_path, capsys
):
    path = empty_file(tmp_path / "one.nscene", all_codecs()[codec])
    before = path.read_bytes()
    assert main(["add", str(path), str(path), *flags]) == 2
    assert f"cannot be changed when objects are added: {name}." in " ".join(capsys.readouterr().err.split())
    assert path.read_bytes() == before


@pytest.mark.parametrize("codec", all_codecs().values())
def test_fixed_settings_are_settings(codec):
    names = {field.name for field in msgspec.structs.fields(codec.settings(None, {}))}
    assert names >= set(codec.info.fixed_settings)


def test_help_of_add_without_a_file_says_how_to_see_settings(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["add", "--help"])
    assert ending.value.code == 0
    assert "Name the file beside --help" in capsys.readouterr().out


@pytest.mark.parametrize(("codec", "preset"), CASES)
def test_help_names_the_codec_and_the_preset_whose_settings_it_shows(codec, preset, capsys):
    with pytest.raises(SystemExit) as ending:
        main(["encode", "--codec", codec.info.name, "--preset", preset, "--help"])
    assert ending.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    assert f"are those of {codec.info.name} with the preset {preset};" in words
