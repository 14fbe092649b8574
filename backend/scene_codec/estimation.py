"""The public function `estimate`: what `encode` will come to, told before the time is spent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from scene_codec.bitstream import SceneContent, Section, file_size
from scene_codec.codecs.contract import CodedObject, CodedSet, ContentSize, EstimatingCodec
from scene_codec.codecs.registry import all_codecs, codec_named
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.object_inputs import (
    EncodeInput,
    default_codec,
    gather,
    originals,
    records_of,
    sizes_of,
)
from scene_codec.progress import Progress
from scene_codec.reports import EstimatedObject, EstimateReport, ObjectFailure

if TYPE_CHECKING:
    from scene_codec.codecs.contract import Codec, EncodeItem, ObjectEstimate

_ANY_KIND = 0


def estimate(
    inputs: EncodeInput | Sequence[EncodeInput],
    *,
    codec: str | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> EstimateReport:
    """Return about how many bytes and triangles `encode` would come to, and with which error; writes nothing.

    Takes what `encode` takes, of a codec whose `CodecInfo.estimates` is set, and some seconds an object.

    Objects that cannot be coded are listed in the report. Raises `UnsupportedSceneError` when there are no
    others, `InvalidRequestError` for wrong arguments, `Cancelled`.
    """
    started = time.monotonic()
    chosen = codec_named(codec or default_codec(inputs))
    if not isinstance(chosen, EstimatingCodec):
        able = ", ".join(
            info.name for info in (each.info for each in all_codecs().values()) if info.estimates
        )
        raise InvalidRequestError(
            f"What {chosen.info.name} comes to shows only when it has encoded; estimates are made for: "
            f"{able}."
        )
    chosen_settings = chosen.settings(preset, settings or {})
    objects, failures = gather(inputs, chosen.info.content, taken=())
    estimates, refused = chosen.estimate(originals(objects), chosen_settings, progress or Progress())
    if not estimates:
        reasons = "; ".join(failure.reason for failure in refused[:5])
        raise UnsupportedSceneError(f"None of the objects can be coded. {reasons}".strip())
    objects_told, failures, file_bytes = _of_file(chosen, objects, estimates, [*failures, *refused])
    before = to_builtins(chosen.settings(preset, {}))
    return EstimateReport(
        codec=chosen.info.name,
        preset=preset or chosen.info.default_preset,
        file_bytes=file_bytes,
        triangles=sum(each.triangles for each in objects_told),
        seconds=time.monotonic() - started,
        objects=tuple(objects_told),
        failures=tuple(failures),
        changed={name: now for name, now in to_builtins(chosen_settings).items() if now != before[name]},
    )


def _of_file(
    codec: Codec,
    objects: Sequence[EncodeItem],
    estimates: Sequence[ObjectEstimate],
    failures: Sequence[ObjectFailure],
) -> tuple[list[EstimatedObject], list[ObjectFailure], int]:
    """Return what each object of a file comes to, copies included, all failures, and the size of the file."""
    names = {item.name for item in objects}
    # A file as it will be, but for what the sections say: how long they are is enough for its size.
    coded = CodedSet(
        shared=(),
        objects=tuple(
            CodedObject(each.source, (Section(_ANY_KIND, bytes(each.bytes)),), ContentSize(0, 0))
            for each in estimates
        ),
        failures=tuple(failure for failure in failures if failure.name in names),
    )
    unread = [failure for failure in failures if failure.name not in names]
    records, all_failures = records_of(objects, coded, unread, first_index=0)
    file_bytes = file_size(SceneContent(codec.info.name, codec.payload_version, (), tuple(records)))
    own = [sum(len(section.payload) for section in record.sections) for record in records]
    share = (file_bytes - sum(own)) / len(records)
    sizes, of_original = sizes_of(objects, coded), {each.source.name: each for each in estimates}
    told = []
    for record, bytes_of_own in zip(records, own, strict=True):
        original = record.name if record.instance_of is None else records[record.instance_of].name
        told.append(
            EstimatedObject(
                name=record.name,
                bytes=round(bytes_of_own + share),
                faces=sizes[record.name].faces,
                triangles=of_original[original].triangles,
                error_percent=of_original[original].error_percent,
                binary_bytes=sizes[record.name].binary_bytes,
            )
        )
    return told, all_failures, file_bytes
