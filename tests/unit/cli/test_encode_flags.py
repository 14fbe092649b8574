import msgspec
import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.cli.arguments import EncodeArguments, parse
from scene_codec.cli.codec_settings import changed_settings
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
