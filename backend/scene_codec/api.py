"""The public functions: encode, add, decode, inspect, list_codecs.

Importing this module is cheap; torch is imported by the first call that encodes or decodes with a codec that
uses it.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, to_builtins

from scene_codec.bitstream import (
    MAGIC,
    ObjectEntry,
    ObjectRecord,
    SceneContent,
    SceneFile,
    SectionEntry,
    account_bytes,
    append_objects,
    begins_scene_file,
    open_scene_file,
    write_scene_file,
)
from scene_codec.codecs.contract import ContentSize, JobContext, ObjectDecoder, SceneItem
from scene_codec.codecs.registry import all_codecs, codec_named
from scene_codec.devices import check_device_name, resolve_device
from scene_codec.errors import (
    CorruptFileError,
    InvalidRequestError,
    UnsupportedVersionError,
)
from scene_codec.object_decoding import decode_each
from scene_codec.object_inputs import (
    IDENTITY,
    EncodeInput,
    default_codec,
    gather,
    originals,
    records_of,
    sizes_of,
)
from scene_codec.progress import Progress
from scene_codec.reports import (
    CodecInfo,
    Details,
    EncodedObject,
    EncodeReport,
    FileSummary,
    ObjectFailure,
    ObjectSummary,
    SectionSummary,
)
from scene_codec.scaling.job_folders import job_folder

if TYPE_CHECKING:
    from scene_codec.codecs.contract import Codec


@dataclass(frozen=True)
class _Run:
    """One call of `encode` or `add`."""

    codec: Codec
    preset: str
    context: JobContext
    started: float
    changed: dict[str, Any]


def list_codecs() -> tuple[CodecInfo, ...]:
    """Return all codecs with their presets."""
    return tuple(codec.info for codec in all_codecs().values())


def encode(  # noqa: PLR0913 - keyword options of the public API
    inputs: EncodeInput | Sequence[EncodeInput],
    output: str | Path,
    *,
    codec: str | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode meshes or volumes into a new file; what stood at `output` stays whole until that is complete.

    inputs : one or several objects, files of meshes or of volumes, or folders that are searched for them
    codec : by default the default codec of what is to be encoded
    preset, settings : a preset of the codec, and fields of it to replace
    An interrupted run keeps its state in the cache folder; the same call goes on from there.

    Objects that cannot be coded are listed in the report. Raises `UnsupportedSceneError` when there are no
    others, `InvalidRequestError` for wrong arguments, `Cancelled`.
    """
    started = time.monotonic()
    chosen = codec_named(codec or default_codec(inputs))
    chosen_settings = chosen.settings(preset, settings or {})
    _check_writable(Path(output))
    with _job(chosen, device, progress) as context:
        objects, failures = gather(inputs, chosen.info.content, taken=())
        coded = chosen.encode(originals(objects), chosen_settings, context)
        records, failures = records_of(objects, coded, failures, first_index=0)
        content = SceneContent(chosen.info.name, chosen.payload_version, coded.shared, tuple(records))
        context.progress.check_cancelled()
        write_scene_file(output, content)
    run = _run_of(chosen, preset, chosen_settings, context, started)
    return _report(run, Path(output), sizes_of(objects, coded), records, failures)


def add(  # noqa: PLR0913 - keyword options of the public API
    file: str | Path,
    inputs: EncodeInput | Sequence[EncodeInput],
    *,
    output: str | Path | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> EncodeReport:
    """Add objects to a finished file: their own data alone is made and appended, all old bytes stay.

    output : where to write the grown file, `file` itself by default
    preset, settings : of the file's codec, for the new objects; what holds for the whole file
        (`CodecInfo.fixed_settings`) stays, whatever the preset says, and is refused in `settings`

    Raises what `encode` raises, and `CorruptFileError`.
    """
    started = time.monotonic()
    target = Path(file if output is None else output)
    with open_scene_file(file) as scene:
        chosen = _codec_of(scene)
        header, names, count = scene.header, scene.names, len(scene.names)
        shared = {section.kind: scene.read_shared(section.kind) for section in scene.shared}
        scene.verify()
    chosen_settings = _settings_for_added(chosen, preset, settings or {})
    _check_writable(target)
    with _job(chosen, device, progress) as context:
        objects, failures = gather(inputs, chosen.info.content, taken=names)
        coded = chosen.add(originals(objects), shared, chosen_settings, context)
        records, failures = records_of(objects, coded, failures, first_index=count)
        context.progress.check_cancelled()
        append_objects(file, records, target, expected=header, payload_version=chosen.payload_version)
    run = _run_of(chosen, preset, chosen_settings, context, started)
    return _report(run, target, sizes_of(objects, coded), records, failures)


def decode(
    file: str | Path,
    *,
    only: str | Sequence[str] | None = None,
    triangles: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    failures: list[ObjectFailure] | None = None,
) -> Iterator[SceneItem]:
    """Return the objects of a file one after the other; nothing is decoded before it is asked for.

    only : name or names of the wanted objects, all by default; the others are not even read
    triangles : most that each mesh may come back with, whatever its codec: one with more is simplified
    failures : gets the damaged objects, which are passed over; without it the first of them ends the decoding

    Raises `CorruptFileError`, `UnsupportedVersionError`, `InvalidRequestError` for an unknown name.
    """
    scene = open_scene_file(file)
    try:
        wanted = range(len(scene.names)) if only is None else [only] if isinstance(only, str) else only
        entries = [scene.object(which) for which in wanted]
        chosen = _codec_of(scene)
        _check_device(chosen, device)
        _check_triangles(chosen, triangles)
    except BaseException:
        scene.close()
        raise
    decoder = partial(decode_each, progress=progress or Progress(), failures=failures, triangles=triangles)
    return _decode_all(scene, chosen, entries, device, decoder)


def inspect(file: str | Path, *, check: bool = False) -> FileSummary:
    """Tell what a file holds, section by section, without decoding it and without torch.

    check : compare all checksums, for which the whole file is read, and list damaged sections in place of
        raising for the first one that is needed

    Raises `CorruptFileError` and `UnsupportedVersionError`. A codec that this release does not know is no
    error: its sections are listed as unknown.
    """
    with open_scene_file(file) as scene:
        damage = list(scene.damage()) if check else None
        account = account_bytes(scene)
        codec = all_codecs().get(scene.codec)
        shared_labels = codec.shared_labels if codec else {}
        object_labels = codec.object_labels if codec else {}
        names = scene.names
        objects = tuple(
            ObjectSummary(
                name=entry.name,
                bytes=own_bytes,
                sections=_section_summaries(entry.sections, object_labels),
                transform=entry.transform or IDENTITY,
                host_bytes=len(entry.host),
                instance_of=None if entry.instance_of is None else names[entry.instance_of],
                details=_details_if_whole(scene, codec, entry, damage),
            )
            for entry, own_bytes in zip(scene.objects, account.object_bytes, strict=True)
        )
        return FileSummary(
            path=str(file),
            file_bytes=scene.file_bytes,
            container_version=scene.container_version,
            codec=scene.codec,
            payload_version=scene.payload_version,
            header_bytes=account.header_bytes,
            shared=_section_summaries(scene.shared, shared_labels),
            objects=objects,
            damage=tuple(damage or ()),
        )


def _settings_for_added(codec: Codec, preset: str | None, settings: Mapping[str, Any]) -> Struct:
    """Return the settings for objects that are added. Raises `InvalidRequestError`."""
    fixed = [name for name in settings if name in codec.info.fixed_settings]
    if fixed:
        raise InvalidRequestError(
            "Settings that hold for a whole file cannot be changed when objects are added: "
            f"{', '.join(fixed)}. Leave them out, or encode all objects again."
        )
    return codec.settings(preset, settings)


def _run_of(codec: Codec, preset: str | None, settings: Struct, context: JobContext, started: float) -> _Run:
    """Return what a call was, for its report."""
    before = to_builtins(codec.settings(preset, {}))
    changed = {name: now for name, now in to_builtins(settings).items() if now != before[name]}
    return _Run(codec, preset or codec.info.default_preset, context, started, changed)


@contextlib.contextmanager
def _job(codec: Codec, device: str, progress: Progress | None) -> Iterator[JobContext]:
    """Give what a codec needs; its working folders go when the block, with the writing in it, ends well."""
    _check_device(codec, device)
    with contextlib.ExitStack() as folders:
        yield JobContext(device, progress or Progress(), lambda key: folders.enter_context(job_folder(key)))


def _check_triangles(codec: Codec, triangles: int | None) -> None:
    """Raise `InvalidRequestError` for a budget of none, or for a file of anything but meshes."""
    if triangles is None:
        return
    if codec.info.content != "mesh":
        raise InvalidRequestError(
            f"A budget of triangles is for meshes; the file holds {codec.info.content} objects."
        )
    if triangles < 1:
        raise InvalidRequestError(f"A mesh needs at least 1 triangle; {triangles} were asked for.")


def _check_device(codec: Codec, name: str) -> None:
    """Raise `InvalidRequestError` for an unknown device, or one that a codec needs and that is not there."""
    check_device_name(name)
    if codec.uses_torch:
        resolve_device(name)


def _decode_all(
    scene: SceneFile,
    codec: Codec,
    entries: Sequence[ObjectEntry],
    device: str,
    decode_entries: Callable[[SceneFile, ObjectDecoder, Sequence[ObjectEntry]], Iterator[SceneItem]],
) -> Iterator[SceneItem]:
    """Decode the given objects of an open file and close it at the end."""
    with scene:
        shared = {section.kind: scene.read_shared(section.kind) for section in scene.shared}
        yield from decode_entries(scene, codec.decoder(shared, device), entries)


def _codec_of(scene: SceneFile) -> Codec:
    """Return the codec of a file, if this release can read what it wrote."""
    codec = all_codecs().get(scene.codec)
    if codec is None or scene.payload_version > codec.payload_version:
        raise UnsupportedVersionError(
            f"The file was written with codec '{scene.codec}', version {scene.payload_version}, "
            "which this release cannot decode. Update Neural Scene Codec to open it."
        )
    scene.require_known_kinds(codec.shared_labels, codec.object_labels)
    return codec


def _check_writable(output: Path) -> None:
    """Raise `InvalidRequestError` before hours of work, not after, when the file cannot be written there.

    A file that is no `.nscene` file is not replaced: it may be the mesh that was to be encoded.
    """
    if output.is_dir():
        raise InvalidRequestError(f"'{output}' is a folder; name a file to write.")
    if output.exists() and not _may_be_replaced(output):
        raise InvalidRequestError(f"'{output}' is there and is no .nscene file; choose another name.")
    if not output.absolute().parent.is_dir():
        raise InvalidRequestError(f"There is no folder '{output.parent}' to write '{output.name}' into.")
    try:
        with tempfile.TemporaryFile(dir=output.absolute().parent):
            pass
    except OSError as error:
        raise InvalidRequestError(
            f"Nothing can be written into '{output.absolute().parent}': {error.strerror or error}."
        ) from error


def _may_be_replaced(path: Path) -> bool:
    """Tell whether a file is empty or begins as a `.nscene` file does."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(len(MAGIC))
    return not start or begins_scene_file(start)


def _details(scene: SceneFile, codec: Codec | None, entry: ObjectEntry) -> Details:
    """Return what the codec says of an object; nothing for a codec that this release does not know."""
    if codec is None or not codec.detail_kinds or scene.payload_version > codec.payload_version:
        return {}
    kinds = [section.kind for section in entry.sections if section.kind in codec.detail_kinds]
    return codec.details({kind: scene.read_object(entry.name, kind) for kind in kinds}) if kinds else {}


def _details_if_whole(
    scene: SceneFile, codec: Codec | None, entry: ObjectEntry, damage: list[str] | None
) -> Details:
    """Return what the codec says of an object; what is damaged goes to `damage`, or is raised without it."""
    try:
        return _details(scene, codec, entry)
    except CorruptFileError as problem:
        if damage is None:
            raise
        if str(problem) not in damage:
            damage.append(str(problem))
        return {}


def _section_summaries(
    sections: Sequence[SectionEntry], labels: Mapping[int, str]
) -> tuple[SectionSummary, ...]:
    """Return sections as `inspect` lists them."""
    return tuple(
        SectionSummary(
            kind=section.kind,
            label=labels.get(section.kind, "unknown"),
            bytes=section.length,
            required=section.required,
        )
        for section in sections
    )


def _report(
    run: _Run,
    path: Path,
    sizes: Mapping[str, ContentSize],
    records: Sequence[ObjectRecord],
    failures: Sequence[ObjectFailure],
) -> EncodeReport:
    """Return what was written, with the bytes that each object really takes."""
    with open_scene_file(path) as scene:
        bytes_of = dict(zip(scene.names, account_bytes(scene).object_bytes, strict=True))
        details = {entry.name: _details(scene, run.codec, entry) for entry in scene.objects}
        file_bytes = scene.file_bytes
    return EncodeReport(
        path=str(path),
        file_bytes=file_bytes,
        codec=run.codec.info.name,
        preset=run.preset,
        changed=run.changed,
        device=str(run.context.device) if run.codec.uses_torch else "cpu",
        seconds=time.monotonic() - run.started,
        objects=tuple(
            EncodedObject(
                name=record.name,
                bytes=bytes_of[record.name],
                details=details[record.name],
                **asdict(sizes[record.name]),
            )
            for record in records
        ),
        failures=tuple(failures),
    )
