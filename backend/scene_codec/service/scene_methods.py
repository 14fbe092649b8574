"""The methods of the real service: each calls the public API and turns its answer into plain JSON values.

The public API is loaded at its first use, so that the server's process starts at once and stays small.
"""

from __future__ import annotations

from typing import Any

import msgspec

import scene_codec
from scene_codec.environment import describe_environment
from scene_codec.errors import CorruptFileError, InvalidRequestError, UnsupportedSceneError
from scene_codec.missed_targets import missed_targets
from scene_codec.progress import Progress
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.reports import EncodeReport, ObjectFailure
from scene_codec.service import protocol
from scene_codec.service.methods import JobMethod, MethodTable, QuickMethod
from scene_codec.service.requests import (
    AddParams,
    DecodeParams,
    EncodeParams,
    EstimateParams,
    InspectParams,
    absolute_path,
)
from scene_codec.service.scene_arrays import read_object, write_object
from scene_codec.volumes.volume import VolumeObject


def encode(params: EncodeParams, progress: Progress) -> object:
    """Encode the host's objects into a new file."""
    output = absolute_path("output", params.output)
    report = scene_codec.encode(
        [read_object(item) for item in params.objects],
        output,
        codec=params.codec,
        preset=params.preset,
        settings=params.settings,
        device=params.device,
        progress=progress,
    )
    return _told(report)


def _told(report: EncodeReport) -> dict[str, Any]:
    """Return a report as JSON, with the targets that were missed in words."""
    return {**msgspec.to_builtins(report), "missed": missed_targets(report)}


def add(params: AddParams, progress: Progress) -> object:
    """Add the host's objects to an existing file."""
    file = absolute_path("file", params.file)
    output = None if params.output is None else absolute_path("output", params.output)
    inputs = [read_object(item) for item in params.objects]
    return _told(scene_codec.add(file, inputs, output=output, device=params.device, progress=progress))


def estimate(params: EstimateParams, progress: Progress) -> object:
    """Tell about what encoding the host's objects will come to."""
    report = scene_codec.estimate(
        [read_object(item) for item in params.objects],
        codec=params.codec,
        preset=params.preset,
        settings=params.settings,
        progress=progress,
    )
    return msgspec.to_builtins(report)


def decode(params: DecodeParams, progress: Progress) -> object:
    """Decode objects into arrays and .vdb files for the host; one that fails does not stop the others."""
    folder = absolute_path("folder", params.folder)
    if not folder.is_dir():
        raise InvalidRequestError(f"The folder for the decoded arrays does not exist: {folder}.")
    volume_folder = params.volume_folder and absolute_path("volume_folder", params.volume_folder)
    failures: list[ObjectFailure] = []
    decoded = scene_codec.decode(
        absolute_path("file", params.file),
        only=params.only,
        triangles=params.triangles,
        device=params.device,
        progress=progress,
        failures=failures,
    )
    objects = []
    for index, item in enumerate(decoded):
        if isinstance(item, RadianceObject):
            raise UnsupportedSceneError(
                f"{params.file} holds radiance fields, which cannot be brought into the host's scene as "
                "objects. `scene-codec render` takes pictures of them, and `scene-codec decode` makes meshes "
                "or volumes, which can be imported."
            )
        target = folder
        if isinstance(item, VolumeObject):
            if not volume_folder:
                raise InvalidRequestError(
                    f"{params.file} holds volumes: the parameter 'volume_folder' must say where they go."
                )
            target = volume_folder
            target.mkdir(parents=True, exist_ok=True)
        try:
            objects.append(write_object(item, target, index))
        except UnsupportedSceneError as problem:
            failures.append(ObjectFailure(name=item.name, reason=str(problem)))
    if failures and not objects:
        raise CorruptFileError(f"Object {failures[0].name!r} cannot be decoded. {failures[0].reason}")
    return {"objects": objects, "failures": msgspec.to_builtins(failures)}


def inspect(params: InspectParams) -> object:
    """Tell what a file holds without decoding it."""
    return msgspec.to_builtins(scene_codec.inspect(absolute_path("file", params.file)))


def describe() -> dict[str, Any]:
    """Tell what is installed here, after everything a job needs was imported."""
    codecs: Any = msgspec.to_builtins(scene_codec.list_codecs())
    return {**describe_environment(), "codecs": codecs}


METHODS = MethodTable(
    jobs={
        protocol.ENCODE: JobMethod(EncodeParams, encode),
        protocol.ADD: JobMethod(AddParams, add),
        protocol.DECODE: JobMethod(DecodeParams, decode),
        protocol.ESTIMATE: JobMethod(EstimateParams, estimate),
    },
    quick={protocol.INSPECT: QuickMethod(InspectParams, inspect)},
    describe=describe,
)
