"""Objects of an open file, decoded one after the other, each with the frames before that it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from scene_codec.bitstream import ObjectEntry, SceneFile
from scene_codec.codecs.contract import FrameDecoder, ObjectDecoder, SceneItem
from scene_codec.errors import CorruptFileError
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.object_inputs import IDENTITY
from scene_codec.progress import Progress
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.reports import ObjectFailure
from scene_codec.volumes.array_storage import copied
from scene_codec.volumes.frame_names import follows
from scene_codec.volumes.volume import VolumeObject

if TYPE_CHECKING:
    from scene_codec.radiance.field import RadianceField

MOST_FRAMES_BEFORE = 63
"""Frames that a frame may need; more are decoded for no file that this package writes."""

Content: TypeAlias = "TriangleMesh | VolumeObject | RadianceField"
_Sections = Mapping[int, bytes]


def decode_each(
    scene: SceneFile,
    decoder: ObjectDecoder,
    entries: Sequence[ObjectEntry],
    progress: Progress,
    failures: list[ObjectFailure] | None,
    *,
    triangles: int | None = None,
) -> Iterator[SceneItem]:
    """Yield the given objects of an open file.

    failures : gets the damaged objects; without it the first of them ends the decoding
    triangles : most that a mesh may have; those with more are simplified

    Raises `CorruptFileError`, `Cancelled`.
    """
    originals = scene.objects
    sources = [entry if entry.instance_of is None else originals[entry.instance_of] for entry in entries]
    uses = Counter(source.name for source in sources)
    decoded: dict[str, Content] = {}
    frames = _Frames(scene, decoder)
    for index, (entry, source) in enumerate(zip(entries, sources, strict=True)):
        progress.update(index / len(entries), entry.name)
        part = progress.part(index / len(entries), (index + 1) / len(entries), entry.name)
        following = sources[index + 1].name if index + 1 < len(sources) else ""
        try:
            if source.name not in decoded:
                decoded[source.name] = _simplified(frames.content(source, following, part), triangles)
        except CorruptFileError as problem:
            if failures is None:
                raise CorruptFileError(f"Object {entry.name!r} cannot be decoded. {problem}") from problem
            failures.append(ObjectFailure(name=entry.name, reason=str(problem)))
            continue
        content = decoded[source.name]
        uses[source.name] -= 1
        if not uses[source.name] or isinstance(content, VolumeObject):
            # A copy of a volume is decoded again: those of a whole sequence would not fit into memory.
            del decoded[source.name]
        yield _item(entry, content)
    progress.update(1.0)


def _simplified(content: Content, triangles: int | None) -> Content:
    """Return a mesh within its triangles, and everything else as it is."""
    if triangles is None or not isinstance(content, TriangleMesh):
        return content
    from scene_codec.geometry.triangle_budget import within_triangles

    return within_triangles(content, triangles)


def _item(entry: ObjectEntry, content: Content) -> SceneItem:
    """Return an object of a file with its name, its place and its host data."""
    transform = np.array(entry.transform or IDENTITY, dtype=np.float64).reshape(4, 4)
    if isinstance(content, VolumeObject):
        return replace(content, name=entry.name, transform=transform, host=entry.host)
    if isinstance(content, TriangleMesh):
        return SceneObject(entry.name, content, transform, entry.host)
    return RadianceObject(entry.name, content, transform, entry.host)


class _Frames:
    """Decodes objects of a file, first what they need; keeps the last frame of a sequence for the next."""

    def __init__(self, scene: SceneFile, decoder: ObjectDecoder) -> None:
        self._scene, self._decoder = scene, decoder
        self._place = {name: index for index, name in enumerate(scene.names)}
        self._last: VolumeObject | None = None
        self._depth = 0

    def content(self, entry: ObjectEntry, following: str, progress: Progress) -> Content:
        """Return what an object is. `following` is the name of the next that will be asked for."""
        sections = self._sections(entry)
        if not isinstance(self._decoder, FrameDecoder):
            return self._decoder.decode(sections, progress)
        chain, before = self._chain(entry, sections)
        self._depth = len(chain) - 1 + (0 if before is None else self._depth + 1)
        self._last = None
        for index, (name, own) in enumerate(reversed(chain)):
            part = progress.part(index / len(chain), (index + 1) / len(chain), name)
            before = replace(self._decoder.decode_frame(own, before, part), name=name)
        assert before is not None
        if follows(following, entry.name):
            # Whoever gets the frame may change its arrays before asking for the next.
            grids = (
                replace(
                    grid,
                    values=copied(grid.values),
                    active=None if grid.active is None else copied(grid.active).view(np.bool_),
                )
                for grid in before.grids
            )
            self._last = replace(before, grids=tuple(grids))
        return before

    def _chain(
        self, entry: ObjectEntry, sections: _Sections
    ) -> tuple[list[tuple[str, _Sections]], VolumeObject | None]:
        """Return an object and the frames it needs, the first last, and the decoded frame before that."""
        assert isinstance(self._decoder, FrameDecoder)
        chain = [(entry.name, sections)]
        while True:
            name = self._decoder.needed_frame(chain[-1][1])
            if name == "":
                return chain, None
            known = self._last is not None and self._last.name == name
            if len(chain) + (self._depth if known else 0) > MOST_FRAMES_BEFORE:
                raise CorruptFileError(f"It needs more than {MOST_FRAMES_BEFORE} frames before it.")
            if known:
                return chain, self._last
            if self._place.get(name, len(self._place)) >= self._place[chain[-1][0]]:
                raise CorruptFileError(f"It needs the frame {name!r}, which does not come before it.")
            chain.append((name, self._sections(self._scene.object(name))))

    def _sections(self, entry: ObjectEntry) -> dict[int, bytes]:
        return {section.kind: self._scene.read_object(entry.name, section.kind) for section in entry.sections}
