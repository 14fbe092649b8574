import msgspec
import numpy as np
import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize(("codec", "preset"), CASES)
def test_help_names_the_codec_and_the_preset_whose_settings_it_shows(codec, preset, capsys):
    with pytest.raises(SystemExit) as ending:
        main(["encode", "--codec", codec.info.name, "--preset", preset, "--help"])
    assert ending.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    assert f"are those of {codec.info.name} with the preset {preset};" in words
