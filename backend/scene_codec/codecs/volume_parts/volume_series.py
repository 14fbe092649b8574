"""Volumes one after the other: each is opened, coded and let go before the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scene_codec.bitstream import Section
from scene_codec.codecs.contract import CodedObject, CodedSet, ContentSize, EncodeItem
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.reports import ObjectFailure
from scene_codec.volumes.volume import VolumeObject
from scene_codec.volumes.volume_source import VolumeFile, opened

EncodeVolume = Callable[[VolumeObject, Progress], tuple[Section, ...]]


def code_each(
    objects: Sequence[EncodeItem], shared: tuple[Section, ...], encode: EncodeVolume, progress: Progress
) -> CodedSet:
    """Return all volumes coded, and as failures those that `encode` or their files refuse.

    Raises `UnsupportedSceneError` with the reasons when nothing is left, `Cancelled`.
    """
    coded: list[CodedObject] = []
    failures: list[ObjectFailure] = []
    for index, item in enumerate(objects):
        assert isinstance(item, VolumeObject | VolumeFile)
        part = progress.part(index / len(objects), (index + 1) / len(objects), item.name)
        try:
            volume = opened(item)
            coded.append(CodedObject(item, encode(volume, part), ContentSize.of(volume)))
            part.update(1.0)
        except UnsupportedSceneError as problem:
            failures.append(ObjectFailure(name=item.name, reason=str(problem)))
    if not coded:
        reasons = "; ".join(f"{failure.name}: {failure.reason}" for failure in failures[:5])
        raise UnsupportedSceneError(f"No volume could be encoded. {reasons}".rstrip())
    return CodedSet(shared=shared, objects=tuple(coded), failures=tuple(failures))
