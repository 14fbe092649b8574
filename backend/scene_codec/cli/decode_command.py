"""`scene-codec decode`: one file per object, under the object's own name."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import msgspec

from scene_codec import api
from scene_codec.cli.arguments import DecodeArguments, parse
from scene_codec.cli.checkpoint_files import CHECKPOINT_FORMAT, write_field_checkpoint
from scene_codec.cli.density_files import DEFAULT_FORMAT, write_density
from scene_codec.cli.exit_codes import LEFT_OUT, OK
from scene_codec.cli.interrupt import cancel_on_interrupt
from scene_codec.cli.terminal import (
    counted,
    messages,
    print_failures,
    print_json,
    print_table,
    progress_bar,
    shown,
    size,
)
from scene_codec.codecs.registry import all_codecs
from scene_codec.errors import Cancelled, CorruptFileError, InvalidRequestError, UnsupportedSceneError
from scene_codec.file_names import object_file_names
from scene_codec.geometry.mesh_files import WRITABLE_SUFFIXES, save_scene_object
from scene_codec.geometry.scene_object import SceneObject
from scene_codec.progress import Progress
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.reports import Content, FileSummary, ObjectFailure
from scene_codec.volumes.volume import VolumeObject
from scene_codec.volumes.volume_files import save_volume, volume_path, volume_suffix

HELP = """Turn a .nscene file back into meshes or volumes: one file per object, named after the object.

A name that is no valid file name is changed, and the table shows to what.

Of a radiance field, the surface of its density is written as a mesh, or the density as a volume; pictures
of it are taken by `scene-codec render`. A forward-facing scene ends at a depth of 100; its mesh lies in the
world, its volume in the normalised device coordinates that the field lives in. A voxel field can also become
a checkpoint again (--format tar), in the layout of DirectVoxGO where that can say it.

Examples:
  scene-codec decode scene.nscene -o meshes/
  scene-codec decode scene.nscene -o meshes/ --only Statue --format glb
  scene-codec decode scene.nscene -o meshes/ --triangles 5000
  scene-codec decode smoke.nscene -o volumes/
  scene-codec decode lego.nscene -o meshes/ --resolution 400
  scene-codec decode lego.nscene -o volumes/ --format vdb
  scene-codec decode lego.nscene -o checkpoints/ --format tar
"""


class WrittenObject(msgspec.Struct, frozen=True, kw_only=True):
    """One decoded object and where it was written; vertices and faces of a mesh, voxels of a volume.

    A radiance field has those of the mesh or volume that was made of it; the voxels of a checkpoint are the
    nodes of its grid.
    """

    name: str
    file: str
    vertices: int
    faces: int
    voxels: int
    bytes: int


class DecodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `decode` wrote."""

    path: str
    folder: str
    objects: tuple[WrittenObject, ...]
    failures: tuple[ObjectFailure, ...]


def decode(arguments: list[str]) -> int:
    """Run `decode` and return the exit status."""
    options = parse(DecodeArguments, "decode", HELP, arguments)
    summary = api.inspect(options.file)
    files = _wanted_files(summary, options)
    folder = _make_folder(options.output)
    if not options.overwrite:
        _refuse_to_overwrite(folder, files)
    written: list[WrittenObject] = []
    failures: list[ObjectFailure] = []
    with cancel_on_interrupt() as token, progress_bar() as callback:
        progress = Progress(callback, token)
        fields = _content_of(summary) == "radiance"
        objects = api.decode(
            options.file,
            only=options.only or None,
            triangles=options.triangles,
            device=options.device,
            # Fields are decoded in no time; the fraction done is that of the meshes made of them.
            progress=Progress(None, token) if fields else progress,
            failures=failures,
        )
        try:
            # One mesh at a time: a set of thousands never lies in memory as a whole.
            for item in objects:
                path = folder / files[item.name]
                if isinstance(item, RadianceObject):
                    done_before = (len(written) + len(failures)) / len(files)
                    part = progress.part(done_before, done_before + 1 / len(files), item.name)
                    _write_field(item, path, options, part, written, failures)
                else:
                    written.append(_write(item, path, overwrite=options.overwrite))
        except Cancelled as stop:
            done = f"{len(written)} of {counted(len(files), 'object')}"
            raise Cancelled(f"Stopped after {done}; those written to '{folder}' are whole.") from stop
    if failures and not written:
        raise CorruptFileError(f"Object {failures[0].name!r} cannot be decoded. {failures[0].reason}")
    report = DecodeReport(
        path=str(options.file), folder=str(folder), objects=tuple(written), failures=tuple(failures)
    )
    _show(report, as_json=options.json)
    print_failures(report.failures)
    return LEFT_OUT if failures else OK


def _write(item: SceneObject | VolumeObject, path: Path, *, overwrite: bool) -> WrittenObject:
    """Write one object and return what was written."""
    if isinstance(item, VolumeObject):
        return _write_volume(item, path, overwrite=overwrite)
    save_scene_object(item, path)
    return WrittenObject(
        name=item.name,
        file=path.name,
        vertices=len(item.mesh.vertices),
        faces=len(item.mesh.faces),
        voxels=0,
        bytes=path.stat().st_size,
    )


def _write_field(
    item: RadianceObject,
    path: Path,
    options: DecodeArguments,
    progress: Progress,
    written: list[WrittenObject],
    failures: list[ObjectFailure],
) -> None:
    """Write what was asked for of a field, and note it; a field that has none of it is a failure."""
    try:
        if options.format == CHECKPOINT_FORMAT:
            vertices, faces, voxels = 0, 0, write_field_checkpoint(item, path)
        else:
            vertices, faces, voxels = write_density(
                item, path, options.resolution, options.threshold, progress
            )
    except UnsupportedSceneError as problem:
        failures.append(ObjectFailure(name=item.name, reason=str(problem)))
        return
    written.append(
        WrittenObject(
            name=item.name,
            file=path.name,
            vertices=vertices,
            faces=faces,
            voxels=voxels,
            bytes=path.stat().st_size,
        )
    )


def _content_of(summary: FileSummary) -> Content:
    """Return what a file holds; a file of an unknown codec is refused when it is decoded."""
    codec = all_codecs().get(summary.codec)
    return codec.info.content if codec else "mesh"


def _write_volume(item: VolumeObject, path: Path, *, overwrite: bool) -> WrittenObject:
    """Write a volume, in the format it came from when `path` has no suffix of a volume's format."""
    if not volume_suffix(path):
        path = path.parent / volume_path(replace(item, name=path.name), Path()).name
        if path.exists() and not overwrite:
            raise InvalidRequestError(f"'{path}' would be replaced. Give --overwrite, or another folder.")
    save_volume(item, path)
    files = path.rglob("*") if path.is_dir() else [path]
    return WrittenObject(
        name=item.name,
        file=path.name,
        vertices=0,
        faces=0,
        voxels=sum(math.prod(grid.shape) for grid in item.grids),
        bytes=sum(file.stat().st_size for file in files),
    )


def _wanted_files(summary: FileSummary, options: DecodeArguments) -> dict[str, str]:
    """Return the file name of each object to decode. Raises `InvalidRequestError` for an unknown name."""
    names = [item.name for item in summary.objects]
    content = _content_of(summary)
    suffix = options.format or {"mesh": "ply", "volume": "", "radiance": DEFAULT_FORMAT}[content]
    if content != "radiance" and (options.resolution, options.threshold) != (None, None):
        raise InvalidRequestError(
            f"'{options.file}' holds {content} objects; --resolution and --threshold are for radiance fields."
        )
    if content != "mesh" and options.triangles is not None:
        raise InvalidRequestError(f"'{options.file}' holds {content} objects; --triangles is for meshes.")
    if suffix == CHECKPOINT_FORMAT and (options.resolution, options.threshold) != (None, None):
        raise InvalidRequestError(
            "--resolution and --threshold are for meshes and volumes; a checkpoint has the field's own grid."
        )
    wrong = suffix == CHECKPOINT_FORMAT or (f".{suffix}" in WRITABLE_SUFFIXES) != (content == "mesh")
    if content != "radiance" and suffix and wrong:
        raise InvalidRequestError(f"'{options.file}' holds {content} objects, which {suffix} cannot hold.")
    files = dict(zip(names, object_file_names(names, suffix), strict=True))
    missing = [name for name in options.only if name not in files]
    if missing:
        some = ", ".join(f"'{name}'" for name in names[:10]) + (", ..." if len(names) > 10 else "")
        raise InvalidRequestError(
            f"There is no object '{missing[0]}' in '{options.file}'. It holds: {some or 'no objects'}."
        )
    return {name: file for name, file in files.items() if not options.only or name in options.only}


def _make_folder(folder: Path) -> Path:
    """Make the output folder. Raises `InvalidRequestError` when a file is in its place."""
    if folder.exists() and not folder.is_dir():
        raise InvalidRequestError(f"The output '{folder}' is a file; name a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _refuse_to_overwrite(folder: Path, files: dict[str, str]) -> None:
    """Raise `InvalidRequestError` when a file to write is there: it may be an original."""
    there = [file for file in files.values() if (folder / file).exists()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise InvalidRequestError(
            f"'{there[0]}'{more} in '{folder}' would be replaced. Choose another folder, or give --overwrite."
        )


def _show(report: DecodeReport, *, as_json: bool) -> None:
    """Show which object went into which file."""
    if as_json:
        print_json(report)
        return
    volumes = any(item.voxels for item in report.objects)
    rows = [
        (
            shown(item.name),
            shown(item.file),
            *((f"{item.voxels:,}",) if volumes else (f"{item.vertices:,}", f"{item.faces:,}")),
            size(item.bytes),
        )
        for item in report.objects
    ]
    counts = ("voxels",) if volumes else ("vertices", "faces")
    print_table(shown(report.folder), ("object", "file", *counts, "size"), rows, text_columns=2)
    renamed = sum(Path(item.file).stem != item.name for item in report.objects)
    if renamed:
        messages().print(f"{renamed} names were changed to be valid and distinct file names.")
