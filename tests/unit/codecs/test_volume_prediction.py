"""Sections that say what predicts a grid: hostile ones are refused, and motion is where it should be."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from volume_frames import SHAPE, SPEED, WAY, frame, sections_of

import scene_codec
from scene_codec.bitstream import serialise
from scene_codec.bitstream.records import ObjectRecord, SceneContent, Section
from scene_codec.codecs.volume_wavelet import syntax
from scene_codec.codecs.volume_wavelet.decoder import decode_volume
from scene_codec.codecs.volume_wavelet.prediction_syntax import (
    GAIN_ONE,
    GridOf,
    GridPrediction,
    Motion,
    Prediction,
    ValueScale,
    read_prediction,
    write_prediction,
)
from scene_codec.codecs.volume_wavelet.reference_voxels import REACH, displacements, reference_numbers
from scene_codec.errors import CorruptFileError
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

ONE = ValueScale(origin=0.0, unit=1.0)


def still(gain=GAIN_ONE, **changes):
    source = changes.pop("source", GridOf(previous=True, number=0))
    gains = ((gain,) * (syntax.LEVELS + 1),)
    fields = {"scales": (ONE,), "motion": None, "gains": gains, "topology": False} | changes
    return GridPrediction(source=source, **fields)


GAINS = still().gains[0]
HOSTILE = {
    "a later grid": Prediction(previous="", grids=(still(source=GridOf(previous=False, number=0)),)),
    "no frame named": Prediction(previous="", grids=(still(),)),
    "too few grids": Prediction(previous="a", grids=()),
    "too few gains": Prediction(previous="a", grids=(still(gains=(GAINS[1:],)),)),
    "gains of channels": Prediction(previous="a", grids=(still(gains=(GAINS, GAINS), scales=(ONE, ONE)),)),
    "too few scales": Prediction(previous="a", grids=(still(scales=()),)),
    "a unit of nothing": Prediction(previous="a", grids=(still(scales=(ValueScale(origin=0.0, unit=0.0),)),)),
    "an infinite origin": Prediction(
        previous="a", grids=(still(scales=(ValueScale(origin=float("inf"), unit=1.0),)),)
    ),
    "huge gains": Prediction(previous="a", grids=(still(10**9),)),
    "not a number": Prediction(
        previous="a",
        grids=(still(motion=Motion(velocity=GridOf(previous=True, number=1), scale=float("nan"))),),
    ),
    "no velocity": Prediction(
        previous="a", grids=(still(motion=Motion(velocity=GridOf(previous=True, number=0), scale=1.0)),)
    ),
    "no such grid": Prediction(previous="a", grids=(still(source=GridOf(previous=True, number=9)),)),
    "other channels": Prediction(previous="a", grids=(still(source=GridOf(previous=True, number=1)),)),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_predictions_are_refused(fault):
    sections = sections_of(frame(1, moving=False)) | {syntax.PREDICTION: write_prediction(HOSTILE[fault])}
    own = frame(0)
    previous = VolumeObject("a", (own.grids[1], own.grids[0]))
    with pytest.raises(CorruptFileError):
        decode_volume(sections, Progress(), previous)


@settings(max_examples=60, derandomize=True)
@given(data=st.binary(max_size=60))
def test_a_prediction_of_any_bytes_is_read_or_refused(data):
    sections = sections_with(data)
    try:
        decode_volume(sections, Progress(), frame(0, moving=False))
    except CorruptFileError:
        return
    read_prediction(data)


def sections_with(data, known={}):  # noqa: B006 - encoded once for all examples
    if not known:
        known.update(sections_of(frame(1, moving=False)))
    return known | {syntax.PREDICTION: data}


def written(tmp_path, needs):
    """A file of frames a, b, ... of which each needs the named one."""
    own = sections_of(frame(1, moving=False))
    records = []
    for name, needed in needs.items():
        sections = [Section(kind, data) for kind, data in own.items()]
        if needed:
            content = write_prediction(Prediction(previous=needed, grids=(still(gain=0),)))
            sections.append(Section(syntax.PREDICTION, content))
        records.append(ObjectRecord(name=name, sections=tuple(sections)))
    path = tmp_path / "made.nscene"
    path.write_bytes(serialise(SceneContent("volume-wavelet", syntax.PAYLOAD_VERSION, (), tuple(records))))
    return path


@pytest.mark.parametrize(
    ("needs", "whole"),
    [
        ({"a": "b", "b": ""}, ["b"]),
        ({"a": "a"}, []),
        ({"a": "missing", "b": "a", "c": ""}, ["c"]),
        ({f"{n:03d}": f"{n - 1:03d}" if n else "" for n in range(70)}, [f"{n:03d}" for n in range(64)]),
    ],
)
def test_frames_that_need_what_does_not_come_before_are_refused(tmp_path, needs, whole):
    path = written(tmp_path, needs)
    for name in needs:
        if name in whole[:1] + whole[-1:]:
            (item,) = scene_codec.decode(path, only=name, device="cpu")
            assert item.name == name
        elif name not in whole:
            with pytest.raises(CorruptFileError):
                list(scene_codec.decode(path, only=name, device="cpu"))


@pytest.mark.parametrize("way", [(0, 0, 0), (2, -1, 3), (-16, 16, -16)])
def test_moving_by_whole_voxels_is_taking_those_voxels(way):
    moved = np.broadcast_to(np.float32(way), (6, 7, 8, 3))
    grid = dataclasses.replace(frame(0, moving=False).grids[0], active=None, kind="level set")
    (there,) = reference_numbers(grid, (ONE,), (2, 3, 4), (6, 7, 8), moved)
    corner = tuple(own - step for own, step in zip((2, 3, 4), way, strict=True))
    (expected,) = reference_numbers(grid, (ONE,), corner, (6, 7, 8), None)
    np.testing.assert_array_equal(there, expected)


def test_numbers_are_values_on_a_scale():
    grid = VolumeGrid("a", np.full((3, 3, 3), 7.0, np.float32), background=(1.0,), kind="level set")
    (numbers,) = reference_numbers(grid, (ValueScale(origin=1.0, unit=2.0),), (-1, 0, 0), (2, 3, 3), None)
    np.testing.assert_array_equal(numbers[0], 0.0)
    np.testing.assert_array_equal(numbers[1], 3.0)


@pytest.mark.parametrize("scale", [1.0 / SPEED, 1e30, -1e30, 0.0])
def test_nothing_comes_from_farther_than_the_reach(scale):
    found = displacements(frame(0).grids[0], scale, (-5, 0, 3), SHAPE)
    assert found.shape == (*SHAPE, 3)
    assert np.abs(found).max() <= REACH
    if scale == 1.0 / SPEED:
        np.testing.assert_allclose(found.reshape(-1, 3).mean(axis=0), WAY, atol=0.2)


def test_velocities_that_are_no_numbers_do_not_move():
    grid = frame(0).grids[0]
    values = grid.values.copy()
    values[::2] = np.nan
    values[1::2] = np.inf
    found = displacements(dataclasses.replace(grid, values=values), 0.1, (0, 0, 0), SHAPE)
    np.testing.assert_array_equal(found, 0.0)


def test_the_limit_of_frames_before_holds_for_whole_files_too(tmp_path):
    path = written(tmp_path, {f"c_{n:03d}": f"c_{n - 1:03d}" if n else "" for n in range(66)})
    failures = []
    names = [item.name for item in scene_codec.decode(path, device="cpu", failures=failures)]
    assert names[-1] == "c_063"
    assert [failure.name for failure in failures] == ["c_064", "c_065"]
