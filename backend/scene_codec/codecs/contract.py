"""What every codec offers and what it is given; the public API knows codecs by this contract alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from scene_codec.bitstream import Section
from scene_codec.devices import resolve_device
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.progress import Progress
from scene_codec.radiance.checkpoint_source import CheckpointFile
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.reports import CodecInfo, Details, ObjectFailure
from scene_codec.volumes.volume import VolumeObject
from scene_codec.volumes.volume_source import VolumeFile

if TYPE_CHECKING:
    import torch

    from scene_codec.radiance.field import RadianceField


@dataclass(frozen=True)
class JobContext:
    """Where a job runs, whom it tells, and where it keeps what a later run can go on from.

    device_name : as the user said it; torch is not imported before a codec asks for the device
    working_folder : returns a folder for a job's key, with what an interrupted run left there; removed when
    the job has ended well and its file is written, kept otherwise
    """

    device_name: str
    progress: Progress
    working_folder: Callable[[str], Path]

    @property
    def device(self) -> torch.device:
        """Where tensors live. Raises `InvalidRequestError` when that is not there."""
        return resolve_device(self.device_name)


SceneItem = SceneObject | VolumeObject | RadianceObject
"""What a file holds: meshes, volumes or radiance fields, each with its name, place and host data."""

EncodeItem = SceneItem | VolumeFile | CheckpointFile
"""What is given to a codec: volumes and trained fields come as files, each opened when its turn comes."""


@dataclass(frozen=True)
class ContentSize:
    """How much there was to code in an object; the fields are those of `reports.EncodedObject`."""

    binary_bytes: int
    source_bytes: int
    vertices: int = 0
    faces: int = 0
    grids: int = 0
    voxels: int = 0
    parameters: int = 0
    area_left: float = 1.0

    @staticmethod
    def of_parameters(parameters: int, source_bytes: int) -> ContentSize:
        """Return the size of a radiance field of so many trained numbers, as float32."""
        return ContentSize(4 * parameters, source_bytes, parameters=parameters)

    @staticmethod
    def of(item: SceneItem) -> ContentSize:
        """Return the size of an object; of a radiance field its codec alone knows the parameters."""
        if isinstance(item, SceneObject):
            mesh = item.mesh
            return ContentSize(mesh.binary_bytes, item.source_bytes, len(mesh.vertices), len(mesh.faces))
        if isinstance(item, RadianceObject):
            return ContentSize.of_parameters(0, item.source_bytes)
        return ContentSize(
            binary_bytes=sum(grid.values.nbytes for grid in item.grids),
            source_bytes=item.source_bytes,
            grids=len(item.grids),
            voxels=sum(math.prod(grid.shape) for grid in item.grids),
        )


@dataclass(frozen=True)
class CodedObject:
    """An object, its sections of the file, and how large it was."""

    source: EncodeItem
    sections: tuple[Section, ...]
    size: ContentSize


@dataclass(frozen=True)
class CodedSet:
    """Everything that goes into a file, and what did not."""

    shared: tuple[Section, ...]
    objects: tuple[CodedObject, ...]
    failures: tuple[ObjectFailure, ...]


@dataclass(frozen=True)
class ObjectEstimate:
    """About what coding an object will come to: bytes of its sections, triangles, error."""

    source: EncodeItem
    bytes: int
    triangles: int
    error_percent: float


class ObjectDecoder(Protocol):
    """Decodes the objects of one file, any one without the others."""

    def decode(
        self, sections: Mapping[int, bytes], progress: Progress
    ) -> TriangleMesh | VolumeObject | RadianceField:
        """Return an object's mesh in scene units, its field, or its volume, whose name and place are open.

        Raises `CorruptFileError`, `Cancelled`.
        """


@runtime_checkable
class FrameDecoder(ObjectDecoder, Protocol):
    """A decoder of volumes of which some need the frame before them."""

    def needed_frame(self, sections: Mapping[int, bytes]) -> str:
        """Return the name of the object that must be decoded first; "" when there is none.

        Raises `CorruptFileError`.
        """

    def decode_frame(
        self, sections: Mapping[int, bytes], previous: VolumeObject | None, progress: Progress
    ) -> VolumeObject:
        """Return a volume, as `decode` does, with the frame before that it needs."""


class Codec(Protocol):
    """One way to turn objects into sections and back."""

    info: CodecInfo
    payload_version: int
    shared_labels: Mapping[int, str]
    object_labels: Mapping[int, str]
    detail_kinds: tuple[int, ...]
    uses_torch: bool

    def settings(self, preset: str | None, overrides: Mapping[str, Any]) -> msgspec.Struct:
        """Return a preset's settings with some fields replaced. Raises `InvalidRequestError`."""

    def encode(
        self, objects: Sequence[EncodeItem], settings: msgspec.Struct, context: JobContext
    ) -> CodedSet:
        """Code a new set of objects of the codec's content.

        Raises `UnsupportedSceneError` if nothing can be coded, `Cancelled`.
        """

    def add(
        self,
        objects: Sequence[EncodeItem],
        shared: Mapping[int, bytes],
        settings: msgspec.Struct,
        context: JobContext,
    ) -> CodedSet:
        """Code more objects for a finished set, whose bytes stay as they are."""

    def details(self, sections: Mapping[int, bytes]) -> Details:
        """Return what `inspect` says of an object by parts, from its sections of `detail_kinds`.

        Raises `CorruptFileError`. Imports no torch.
        """

    def decoder(self, shared: Mapping[int, bytes], device: str) -> ObjectDecoder:
        """Return the decoder of a file.

        Raises `CorruptFileError`, and `InvalidRequestError` when the device is not there.
        """


@runtime_checkable
class EstimatingCodec(Codec, Protocol):
    """A codec that can tell beforehand, in about a second an object, what coding will come to."""

    def estimate(
        self, objects: Sequence[EncodeItem], settings: msgspec.Struct, progress: Progress
    ) -> tuple[list[ObjectEstimate], list[ObjectFailure]]:
        """Return estimates in the order of the objects, and what cannot be coded. Raises `Cancelled`."""
