import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.file_names import MAX_NAME_BYTES, object_file_names, safe_file_stem

HOSTILE = st.text(alphabet=st.sampled_from('./\\:*?"<>| \0\n\u202eaA.-~é'), max_size=40)
ANY_NAME = st.one_of(st.text(max_size=300), HOSTILE)


@settings(derandomize=True, max_examples=200)
@given(ANY_NAME)
def test_any_name_becomes_one_plain_file_name(name):
    stem = safe_file_stem(name)
    file = f"{stem}.ply"
    assert PurePosixPath(file).name == file
    assert PureWindowsPath(file).name == file
    assert PureWindowsPath(file).drive == ""
    assert stem not in {"", ".", ".."}
    assert not stem.endswith((".", " "))
    assert all(character.isprintable() or character == "\u00ad" or ord(character) > 127 for character in stem)
    assert len(file.encode("utf-8")) <= MAX_NAME_BYTES + 4


@settings(derandomize=True, max_examples=100)
@given(ANY_NAME)
def test_a_safe_name_stays_as_it_is(name):
    stem = safe_file_stem(name)
    assert safe_file_stem(stem) == stem


@settings(derandomize=True, max_examples=100)
@given(st.lists(ANY_NAME, max_size=30))
def test_no_two_objects_share_a_file_even_where_case_does_not_count(names):
    files = object_file_names(names, "obj")
    assert len(files) == len(names)
    assert len({file.casefold() for file in files}) == len(files)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("C:\\Windows\\x", "C__Windows_x"),
        ("CON", "_CON"),
        ("nul.tar", "_nul.tar"),
        ("Com1", "_Com1"),
        ("Cube.001", "Cube.001"),
        ("Vase (été) 花瓶", "Vase (été) 花瓶"),
        ("..", "_"),
        ("", "_"),
        (" spaces ", "spaces"),
        ("two\nlines", "two_lines"),
    ],
)
def test_known_traps_are_defused(name, stem):
    assert safe_file_stem(name) == stem


def test_same_names_are_numbered_in_their_order():
    assert object_file_names(["a", "A", "a", "a-2"], "ply") == ["a.ply", "A-2.ply", "a-3.ply", "a-2-2.ply"]


@settings(derandomize=True, max_examples=60)
@given(name=HOSTILE)
def test_no_name_leads_out_of_the_folder(name):
    folder = Path(os.sep) / "out"
    (file,) = object_file_names([name], "glb")
    assert Path(os.path.normpath(folder / file)).parent == folder
