"""Frames are found as Blender looks for them; names of files are such as every system takes."""

from pathlib import PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_codec_addon.numbered_files import (
    LONGEST_STEM_BYTES,
    FrameName,
    find_sequences,
    frame_name,
    free_name,
    safe_stem,
)


@settings(derandomize=True, max_examples=80)
@given(st.text(max_size=8).filter(lambda text: not text[-1:].isdigit()), st.integers(0, 10**8))
def test_a_number_at_the_end_is_a_frame(prefix, number):
    for digits in (1, 4):
        name = f"{prefix}{number:0{digits}d}"
        found = frame_name(name)
        assert found == FrameName(prefix, len(str(number)) if len(str(number)) > digits else digits, number)
        assert found.of_frame(number) == name


@pytest.mark.parametrize("name", ["", "smoke", "smoke_0001b", "smoke_0123456789", "smoke٣"])
def test_other_names_are_no_frames(name):
    assert frame_name(name) is None


def test_sequences_are_found_in_all_folders_and_in_order(tmp_path):
    names = [f"data/fluid_{number:04d}.vdb" for number in (2, 10, 9998, 9999, 10000)]
    names += [f"data/fluid_{number}.vdb" for number in (1, 2, 10)]
    names += [
        "data/extra_7.vdb",
        "plain.VDB",
        "noise/deep/fluid_01.vdb",
        "noise/deep/fluid_02.vdb",
        "x_01.uni",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = {
        "/".join((*item.folder, item.files[0].name)): [path.stem for path in item.files]
        for item in find_sequences(tmp_path)
    }
    assert found == {
        "plain.VDB": ["plain"],
        "data/extra_7.vdb": ["extra_7"],
        "data/fluid_1.vdb": ["fluid_1", "fluid_2", "fluid_10", "fluid_9998", "fluid_9999", "fluid_10000"],
        "data/fluid_0002.vdb": ["fluid_0002", "fluid_0010"],
        "noise/deep/fluid_01.vdb": ["fluid_01", "fluid_02"],
    }
    single = [item.files[0].stem for item in find_sequences(tmp_path) if item.name is None]
    assert sorted(single) == ["extra_7", "plain"]


@settings(derandomize=True, max_examples=200)
@given(st.text(max_size=300))
def test_a_safe_name_is_one_part_of_a_path_on_every_system(text):
    stem = safe_stem(text)
    assert 0 < len(stem.encode()) <= LONGEST_STEM_BYTES + 1
    assert PureWindowsPath(stem + ".vdb").name == stem + ".vdb"
    assert not PureWindowsPath(stem + ".vdb").is_reserved()
    assert stem not in (".", "..")
    assert stem == stem.strip().rstrip(". ")


@pytest.mark.parametrize("text", ["Rauch ö", "文 1", "smoke_0001", "a.b"])
def test_good_names_stay_as_they_are(text):
    assert safe_stem(text) == text


def test_a_taken_name_gets_a_number_whatever_its_case():
    assert free_name("a.vdb", ["b.vdb"]) == "a.vdb"
    assert free_name("a.vdb", ["A.VDB", "a (2).vdb"]) == "a (3).vdb"
    assert free_name("Wolke", ["wolke"]) == "Wolke (2)"
