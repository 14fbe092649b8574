"""Frames help each other: files get smaller, every frame is as good, decodes alone; hostile ones do not."""

import dataclasses

import msgspec
import numpy as np
import pytest
from volume_frames import SPEED, assert_same, cloud, frame, psnr, sections_of

import scene_codec
from scene_codec.bitstream import open_scene_file
from scene_codec.codecs.volume_wavelet import encoder, syntax
from scene_codec.codecs.volume_wavelet.decoder import VolumeReader, decode_volume
from scene_codec.codecs.volume_wavelet.prediction_syntax import (
    GridOf,
    read_prediction,
)
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import save_volume
from scene_codec.volumes.volume_source import VolumeFile

COUNT = 5


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """A file of five frames, and the frames."""
    frames = [frame(number) for number in range(COUNT)]
    path = tmp_path_factory.mktemp("sequence") / "cloud.nscene"
    scene_codec.encode(frames, path, settings={"keyframes": 3}, device="cpu")
    return path, frames


def test_every_frame_keeps_the_promise(sequence):
    path, frames = sequence
    for decoded, original in zip(scene_codec.decode(path, device="cpu"), frames, strict=True):
        assert decoded.name == original.name
        for grid, source in zip(decoded.grids, original.grids, strict=True):
            np.testing.assert_array_equal(grid.active, source.active)
            assert psnr(grid, source) >= 45.0


def test_a_frame_decodes_alone_to_the_same_voxels(sequence):
    path, _ = sequence
    for whole in scene_codec.decode(path, device="cpu"):
        (alone,) = scene_codec.decode(path, only=whole.name, device="cpu")
        assert_same(alone, whole)


def test_frames_decode_in_any_order(sequence):
    path, frames = sequence
    whole = {item.name: item for item in scene_codec.decode(path, device="cpu")}
    names = [frames[index].name for index in (4, 1, 2, 2, 0)]
    for item in scene_codec.decode(path, only=names, device="cpu"):
        assert_same(item, whole[item.name])


def test_only_frames_between_those_that_stand_alone_need_another(sequence):
    path, _ = sequence
    with open_scene_file(path) as scene:
        needed = []
        for name in scene.names:
            data = scene.read_object(name, syntax.PREDICTION)
            needed.append(read_prediction(data).previous)
    assert needed == ["", "cloud_0000", "cloud_0001", "", "cloud_0003"]


def value_bytes(path):
    """Bytes of each object's coefficients."""
    return [
        sum(section.bytes for section in item.sections if section.label == "values")
        for item in scene_codec.inspect(path).objects
    ]


def test_frames_with_help_take_fewer_bytes(sequence, tmp_path):
    path, frames = sequence
    alone = tmp_path / "alone.nscene"
    scene_codec.encode(frames, alone, settings={"keyframes": 1}, device="cpu")
    helped, plain = value_bytes(path), value_bytes(alone)
    assert all(helped[index] < 0.9 * plain[index] for index in (1, 2, 4))
    assert helped[0] == plain[0]


def test_changing_a_frame_that_was_handed_out_does_not_harm_the_next(sequence):
    path, _ = sequence
    expected = list(scene_codec.decode(path, device="cpu"))
    for item, original in zip(scene_codec.decode(path, device="cpu"), expected, strict=True):
        assert_same(item, original)
        for grid in item.grids:
            grid.values[...] = 7
            grid.active[...] = True


def test_motion_is_found_and_its_scale_is_voxels_a_unit():
    first = sections_of(frame(0))
    previous = decode_volume(first, Progress(), name="cloud_0000")
    prediction = read_prediction(sections_of(frame(1), previous)[syntax.PREDICTION])
    density = prediction.grids[1]
    assert density.source.previous
    assert density.motion.scale == pytest.approx(1.0 / SPEED, rel=0.2)


def test_active_voxels_of_the_frame_before_are_a_clue_where_they_are_alike():
    def held(number):
        density = dataclasses.replace(frame(number, moving=False).grids[0], active=cloud(0)[1])
        return VolumeObject(f"held_{number}", (density,), file_format="vdb")

    previous = decode_volume(sections_of(held(0)), Progress(), name="held_0")
    alone, helped = sections_of(held(1)), sections_of(held(1), previous)
    assert read_prediction(helped[syntax.PREDICTION]).grids[0].topology
    assert len(helped[syntax.TOPOLOGY]) < 0.5 * len(alone[syntax.TOPOLOGY])


def test_temperature_is_predicted_from_density():
    prediction = read_prediction(sections_of(frame(0))[syntax.PREDICTION])
    assert prediction.previous == ""
    assert prediction.grids[2].source == GridOf(previous=False, number=1)
    alone = dataclasses.replace(frame(0), grids=frame(0).grids[2:])
    together, apart = sections_of(frame(0)), [sections_of(frame(0)), sections_of(alone)]
    without = dataclasses.replace(frame(0), grids=frame(0).grids[:2])
    own = sum(map(len, together.values())) - sum(map(len, sections_of(without).values()))
    assert own < 0.75 * sum(map(len, apart[1].values()))


def test_grids_that_the_encoder_keeps_are_those_that_a_decoder_has(monkeypatch):
    previous = decode_volume(sections_of(frame(0)), Progress(), name="cloud_0000")
    kept = sections_of(frame(1), previous)
    monkeypatch.setattr(encoder._Task, "may_help", lambda *_: False)
    assert sections_of(frame(1), previous) == kept


@pytest.mark.parametrize(
    ("dtype", "bound"),
    [("float16", 0.01), ("float32", 0.0), ("uint8", 3.0), ("int16", 0.0), ("float32", 0.01)],
)
def test_guarantees_hold_for_frames(dtype, bound):
    target = {"max_error": bound} if bound else {"lossless": True}
    previous = None
    for own in (frame(number, dtype=dtype, moving=False) for number in range(2)):
        decoded = decode_volume(sections_of(own, previous, **target), Progress(), previous, own.name)
        for grid, source in zip(decoded.grids, own.grids, strict=True):
            np.testing.assert_array_equal(grid.active, source.active)
            difference = grid.values.astype(float) - source.values.astype(float)
            assert np.abs(difference[source.active]).max() <= bound
        previous = decoded


def test_a_region_of_a_frame_is_that_part_of_the_whole():
    previous = decode_volume(sections_of(frame(0), psnr=40.0, tile=32), Progress(), name="cloud_0000")
    sections = sections_of(frame(1), previous, psnr=40.0, tile=32)
    whole = decode_volume(sections, Progress(), previous)
    for number in range(3):
        part = VolumeReader(sections, previous).region(number, (3, 5, 2), (9, 4, 20), Progress())
        box = (slice(3, 12), slice(5, 9), slice(2, 22))
        np.testing.assert_array_equal(part.values, whole.grids[number].values[box])
        np.testing.assert_array_equal(part.active, whole.grids[number].active[box])


def test_regions_of_several_tiles_with_motion_agree_with_the_whole():
    def long(number):
        grids = []
        for grid in frame(number).grids:
            repeated = np.concatenate([grid.values] * 3, axis=2)
            grids.append(
                dataclasses.replace(grid, values=repeated, active=np.concatenate([grid.active] * 3, axis=2))
            )
        return VolumeObject(f"long_{number}", tuple(grids), file_format="vdb")

    previous = decode_volume(sections_of(long(0), psnr=40.0, tile=32), Progress(), name="long_0")
    sections = sections_of(long(1), previous, psnr=40.0, tile=32)
    assert any(own and own.motion for own in read_prediction(sections[syntax.PREDICTION]).grids)
    whole = decode_volume(sections, Progress(), previous)
    for start in (0, 20, 55):
        part = VolumeReader(sections, previous).region(2, (0, 0, start), (24, 20, 25), Progress())
        np.testing.assert_array_equal(part.values, whole.grids[2].values[:, :, start : start + 25])


def test_a_frame_that_cannot_be_coded_leaves_the_others_whole(tmp_path):
    level_set = VolumeGrid("sdf", np.ones((3, 3, 3), bool), active=np.ones((3, 3, 3), bool), kind="level set")
    bad = VolumeObject("cloud_0002", (level_set,), file_format="vdb")
    frames = [frame(1), bad, frame(3), frame(4)]
    report = scene_codec.encode(frames, tmp_path / "c.nscene", device="cpu")
    assert [failure.name for failure in report.failures] == ["cloud_0002"]
    names = [item.name for item in scene_codec.decode(tmp_path / "c.nscene", device="cpu")]
    assert names == ["cloud_0001", "cloud_0003", "cloud_0004"]


def test_files_of_a_folder_become_frames_in_the_order_of_their_numbers(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    for number in (1, 2, 10):
        save_volume(frame(number, moving=False), folder / f"smoke{number}.vdb")
    (tmp_path / "cache" / "smoke9.vdb").write_bytes(b"no VDB file")
    report = scene_codec.encode(folder, tmp_path / "c.nscene", device="cpu")
    assert [item.name for item in report.objects] == ["smoke1", "smoke2", "smoke10"]
    assert [failure.name for failure in report.failures] == ["smoke9"]
    assert report.objects[0].source_bytes == (folder / "smoke1.vdb").stat().st_size
    names = [item.name for item in scene_codec.decode(tmp_path / "c.nscene", device="cpu")]
    assert names == ["smoke1", "smoke2", "smoke10"]


def test_nothing_but_damaged_files_says_why(tmp_path):
    (tmp_path / "smoke1.vdb").write_bytes(b"no VDB file")
    with pytest.raises(UnsupportedSceneError, match=r"smoke1\.vdb"):
        scene_codec.encode(tmp_path / "smoke1.vdb", tmp_path / "c.nscene", device="cpu")


def test_added_frames_stand_alone(sequence, tmp_path):
    path, _ = sequence
    grown = tmp_path / "grown.nscene"
    scene_codec.add(path, [frame(5)], output=grown, device="cpu")
    (added,) = scene_codec.decode(grown, only="cloud_0005", device="cpu")
    assert psnr(added.grids[1], frame(5).grids[1]) >= 45.0


def test_the_same_frames_give_the_same_bytes(sequence, tmp_path):
    path, frames = sequence
    again = tmp_path / "again.nscene"
    scene_codec.encode(frames, again, settings={"keyframes": 3}, device="cpu")
    assert again.read_bytes() == path.read_bytes()


def test_inspect_says_what_a_grid_is_predicted_from(sequence):
    path, _ = sequence
    first, second, *_ = scene_codec.inspect(path).objects
    assert [grid["predicted_from"] for grid in first.details["grids"]] == [None, None, "density"]
    assert second.details["grids"][1]["predicted_from"] == "cloud_0000, grid 2, moved"


def test_settings_of_the_file_are_plain_numbers(sequence):
    """What the section holds is MessagePack of arrays and numbers: nothing of this program's own."""
    path, _ = sequence
    with open_scene_file(path) as scene:
        content = msgspec.msgpack.decode(scene.read_object("cloud_0001", syntax.PREDICTION))
    assert content[0] == "cloud_0000"
    assert len(content[1]) == 3


def test_the_same_files_twice_are_stored_once(tmp_path):
    paths = []
    for number in (1, 2):
        paths.append(tmp_path / f"smoke_{number}.vdb")
        save_volume(frame(number, moving=False), paths[-1])
    away = np.eye(4)
    away[0, 3] = 5.0
    files = [VolumeFile(f"here_{number}", path) for number, path in enumerate(paths)]
    files += [VolumeFile(f"there_{number}", path, away, b"host") for number, path in enumerate(paths)]
    report = scene_codec.encode(files, tmp_path / "a.nscene", device="cpu")
    assert [item.voxels for item in report.objects[:2]] == [item.voxels for item in report.objects[2:]]
    assert report.objects[3].bytes < 300 < report.objects[1].bytes
    first, second, third, fourth = scene_codec.decode(tmp_path / "a.nscene", device="cpu")
    assert_same(first, third)
    assert_same(second, fourth)
    np.testing.assert_array_equal(fourth.transform, away)
    assert (fourth.name, fourth.host) == ("there_1", b"host")
    (alone,) = scene_codec.decode(tmp_path / "a.nscene", only="there_1", device="cpu")
    assert_same(alone, second)


def test_caches_of_one_name_in_two_folders_stay_two_sequences(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder / "data").mkdir(parents=True)
        for number in (9, 10):
            volume = frame(number + len(folder), moving=False)
            save_volume(volume, tmp_path / folder / "data" / f"fluid_{number}.vdb")
    report = scene_codec.encode(tmp_path, tmp_path / "a.nscene", device="cpu")
    expected = ["one_data_fluid_9", "one_data_fluid_10", "two_data_fluid_9", "two_data_fluid_10"]
    assert [item.name for item in report.objects] == expected


def test_a_frame_that_stands_still_costs_little_without_loss():
    first = frame(0)
    alone = sections_of(first, lossless=True)
    previous = decode_volume(alone, Progress(), name="cloud_0")
    helped = sections_of(first, previous, lossless=True)
    assert sum(map(len, helped.values())) < 0.3 * sum(map(len, alone.values()))
    assert_same(decode_volume(helped, Progress(), previous), first)


@pytest.mark.parametrize("size", [1e-28, 1e-31, 1e-40])
def test_velocities_next_to_nothing_move_nothing(size):
    def calm(number):
        flow, *others = frame(number).grids
        slow = (flow.values * np.float32(size)).astype(np.float32)
        return VolumeObject(f"calm_{number}", (flow.with_values(slow), *others), file_format="vdb")

    previous = decode_volume(sections_of(calm(0)), Progress(), name="calm_0")
    decoded = decode_volume(sections_of(calm(1), previous), Progress(), previous)
    assert psnr(decoded.grids[1], calm(1).grids[1]) >= 45.0
