import pytest

from scene_codec.cli.input_patterns import expand_patterns
from scene_codec.errors import InvalidRequestError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.obj", "a.obj", "c.stl", "sub/d.obj", "odd[1].obj"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_pattern_stands_for_its_files_in_order(folder):
    assert expand_patterns([f"{folder}/?.obj"]) == [folder / "a.obj", folder / "b.obj"]


def test_two_stars_reach_into_subfolders(folder):
    assert folder / "sub" / "d.obj" in expand_patterns([f"{folder}/**/*.obj"])


def test_files_and_folders_are_taken_as_they_are_and_once(folder):
    assert expand_patterns([str(folder), f"{folder}/c.stl", f"{folder}/c.stl"]) == [folder, folder / "c.stl"]


def test_a_file_with_brackets_in_its_name_is_no_pattern(folder):
    assert expand_patterns([f"{folder}/odd[1].obj"]) == [folder / "odd[1].obj"]


@pytest.mark.parametrize("text", ["missing.obj", "missing*.obj"])
def test_what_matches_nothing_is_named(folder, text):
    with pytest.raises(InvalidRequestError, match="missing"):
        expand_patterns([f"{folder}/{text}"])


def test_no_input_is_refused():
    with pytest.raises(InvalidRequestError, match="No input"):
        expand_patterns([])
