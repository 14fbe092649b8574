"""From the backend's decoded .vdb files to volumes: frames of one sequence together. Plain data, no bpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..numbered_files import VDB_SUFFIX, FrameName, frame_name, safe_stem
from . import host_record
from .host_record import DataReference, HostRecord
from .volume_record import VolumeRecord, sequence_settings

LEAST_DIGITS = 2  # "Smoke_01" is a frame of a sequence, "Smoke 1" is the name of something


@dataclass(frozen=True)
class DecodedFrames:
    """A volume, or a sequence of them, as it came from the backend.

    files : where each file lies now, by the name it is to have
    folder : the folder they are to lie in, below the one the user chose; () for a single file
    first : the name in `files` that the volume refers to
    """

    name: str
    files: dict[str, Path]
    folder: tuple[str, ...]
    first: str
    transform: tuple[float, ...]
    record: HostRecord


@dataclass(frozen=True)
class _Frame:
    name: str
    path: Path
    transform: tuple[float, ...]
    record: HostRecord

    @property
    def volume(self) -> VolumeRecord:
        return self.record.volume or VolumeRecord()


def collect_volumes(
    answers: list[dict[str, Any]], check_file: Callable[[str], Path]
) -> tuple[list[DecodedFrames], list[dict[str, str]]]:
    """Return the volumes that the backend's answers make up, and what is wrong with the other answers.

    check_file : returns the path of a file that may be used, or raises ValueError
    """
    groups: dict[tuple[object, ...], list[_Frame]] = {}
    failures = []
    for answer in answers:
        try:
            frame = _checked(answer, check_file)
        except ValueError as problem:
            failures.append({"name": answer["name"], "reason": str(problem)})
            continue
        groups.setdefault(_sequence_of(frame), []).append(frame)
    return [_joined(frames) for frames in groups.values()], failures


def names_with_frames(wanted: tuple[str, ...], stored: list[str]) -> list[str]:
    """Return the stored names that are meant: a name itself, or all frames of the sequence of that name."""
    names: dict[str, None] = {}
    for name in wanted:
        frames = [] if name in stored else [other for other in stored if _is_frame_of(other, name)]
        names |= dict.fromkeys(frames or [name])
    return list(names)


def _is_frame_of(stored: str, name: str) -> bool:
    number = frame_name(stored)
    return number is not None and number.digits >= LEAST_DIGITS and number.prefix in (name, f"{name}_")


def _checked(answer: dict[str, Any], check_file: Callable[[str], Path]) -> _Frame:
    path = check_file(answer["volume"])
    transform = host_record.matrix_values(answer["transform"])
    if transform is None:
        raise ValueError("Its transform is not 16 finite numbers.")
    return _Frame(answer["name"], path, transform, host_record.parse(answer["host"]))


def _sequence_of(frame: _Frame) -> tuple[object, ...]:
    """Return what a frame has in common with the other frames of its sequence, and with nothing else."""
    if frame.volume.frame is not None:
        return ("recorded", frame.volume.first or frame.name)
    number = frame_name(frame.name)
    if frame.record.volume is None and number is not None and number.digits >= LEAST_DIGITS:
        return ("numbered", number.prefix, frame.transform)
    return ("single", frame.name)


def _joined(frames: list[_Frame]) -> DecodedFrames:
    """Return the volume of one group; the record of the sequence is that of its first frame."""
    head = next((frame for frame in frames if not frame.volume.first), None)
    if head is not None and head.volume.frame is not None:
        return _sequence(frames, head.record, FrameName("frame_", 4, 0))
    if len(frames) == 1:
        return _single(frames[0])
    # Made elsewhere, or without the frame that has the record: shown at the frames with their numbers.
    name = frame_name(frames[0].name) or FrameName(f"{frames[0].name}_", 4, 0)
    title = name.prefix.rstrip("_-. ") or "Volume"
    settings = sequence_settings([_number(frame) for frame in frames])
    volume = VolumeRecord(title, settings, frames[0].name + VDB_SUFFIX)
    return _sequence(frames, HostRecord(object=DataReference(title), volume=volume), name)


def _sequence(frames: list[_Frame], record: HostRecord, fallback: FrameName) -> DecodedFrames:
    volume = record.volume or VolumeRecord()
    name = frame_name(safe_stem(Path(volume.file).stem)) or fallback
    files = {name.of_frame(_number(frame)) + VDB_SUFFIX: frame.path for frame in frames}
    title = record.object.name or frames[0].name
    below = tuple(map(safe_stem, (volume.name or title, *volume.folder[1:])))
    return DecodedFrames(title, files, below, next(iter(files)), frames[0].transform, record)


def _single(frame: _Frame) -> DecodedFrames:
    stem = safe_stem(Path(frame.volume.file).stem or frame.name)
    files = {stem + VDB_SUFFIX: frame.path}
    record = frame.record
    if record.volume is not None and record.volume.settings.get("is_sequence"):
        settings = {path: value for path, value in record.volume.settings.items() if path != "is_sequence"}
        record = replace(record, volume=replace(record.volume, settings=settings))
    return DecodedFrames(frame.name, files, (), next(iter(files)), frame.transform, record)


def _number(frame: _Frame) -> int:
    if frame.volume.frame is not None:
        return frame.volume.frame
    number = frame_name(frame.name)
    return number.number if number else 0
