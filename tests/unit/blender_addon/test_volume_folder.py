"""Decoded files come to their place whole, beside those of others, and can be taken back."""

import pytest
from scene_codec_addon.volume_folder import VolumeFolder


@pytest.fixture
def folder(tmp_path):
    """A folder two levels below one that exists, with a function that stages files in it."""
    made = VolumeFolder(tmp_path / "new" / "ziel ö")

    def stage(name, content=b"volume"):
        made.staging.mkdir(parents=True, exist_ok=True)
        (made.staging / name).write_bytes(content)
        return made.check_staged(str(made.staging / name))

    return made, stage


def place_frames(made, staged, wanted):
    """Go through all steps and return the folder."""
    steps = made.place_frames(staged, wanted)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def names_below(path):
    return sorted(item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file())


def test_files_are_placed_and_nothing_else_stays(folder, tmp_path):
    made, stage = folder
    assert made.place(stage("000000.vdb"), "smoke.vdb") == made.path / "smoke.vdb"
    frames = {"a_1.vdb": stage("000001.vdb", b"1"), "a_2.vdb": stage("000002.vdb", b"2")}
    assert place_frames(made, frames, ("Cloud", "deep")) == made.path / "Cloud" / "deep"
    stage("left over.vdb")
    made.close()
    assert names_below(made.path) == ["Cloud/deep/a_1.vdb", "Cloud/deep/a_2.vdb", "smoke.vdb"]


def test_what_was_placed_is_taken_back_with_the_folders_made_for_it(folder, tmp_path):
    made, stage = folder
    made.place(stage("0.vdb"), "smoke.vdb")
    place_frames(made, {"a_1.vdb": stage("1.vdb")}, ("Cloud",))
    made.discard()
    assert list(tmp_path.iterdir()) == []


def test_folders_of_the_user_stay_even_when_empty(folder, tmp_path):
    made, _ = folder
    made.path.mkdir(parents=True)
    again = VolumeFolder(made.path)
    again.staging.mkdir()
    (again.staging / "0.vdb").write_bytes(b"x")
    place_frames(again, {"a_1.vdb": again.check_staged(str(again.staging / "0.vdb"))}, ("Cloud",))
    again.discard()
    assert list(made.path.iterdir()) == []


def test_the_same_file_is_not_written_twice_and_another_one_stays(folder):
    made, stage = folder
    first = made.place(stage("0.vdb"), "smoke.vdb")
    assert made.place(stage("1.vdb"), "smoke.vdb") == first
    assert made.place(stage("2.vdb", b"other"), "smoke.vdb").name == "smoke (2).vdb"
    assert first.read_bytes() == b"volume"


def test_a_sequence_joins_its_own_frames_and_no_others(folder):
    made, stage = folder
    first = place_frames(made, {"a_1.vdb": stage("0.vdb", b"1")}, ("Cloud",))
    more = {"a_1.vdb": stage("1.vdb", b"1"), "a_2.vdb": stage("2.vdb", b"2")}
    assert place_frames(made, more, ("Cloud",)) == first
    part = {"a_2.vdb": stage("3.vdb", b"2")}
    assert place_frames(made, part, ("Cloud",)) == first
    strangers = {"b_1.vdb": stage("4.vdb", b"3")}
    assert place_frames(made, strangers, ("Cloud",)).name == "Cloud (2)"
    changed = {"a_1.vdb": stage("5.vdb", b"9")}
    assert place_frames(made, changed, ("Cloud",)).name == "Cloud (3)"
    made.close()
    expected = ["Cloud (2)/b_1.vdb", "Cloud (3)/a_1.vdb", "Cloud/a_1.vdb", "Cloud/a_2.vdb"]
    assert names_below(made.path) == expected


def test_files_elsewhere_are_refused(folder, tmp_path):
    made, stage = folder
    stage("0.vdb")
    (made.staging / "deep").mkdir()
    (made.staging / "deep" / "1.vdb").write_bytes(b"")
    (tmp_path / "outside.vdb").write_bytes(b"")
    for path in (tmp_path / "outside.vdb", made.staging / "none.vdb", made.staging / "deep" / "1.vdb"):
        with pytest.raises(ValueError, match="is no file of"):
            made.check_staged(str(path))
    with pytest.raises(ValueError, match="of another volume"):
        made.check_staged(str(made.staging / "0.vdb"))
    with pytest.raises(ValueError, match="is no file of"):
        made.check_staged(str(made.staging / ".." / ".." / ".." / "outside.vdb"))
