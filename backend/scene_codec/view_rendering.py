"""Pictures of radiance fields in a file: one after the other, or as files and a film."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scene_codec import api
from scene_codec.codecs.registry import all_codecs
from scene_codec.errors import Cancelled, CorruptFileError, InvalidRequestError
from scene_codec.file_names import object_file_names
from scene_codec.progress import Progress
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.reports import FileSummary, ObjectSummary
from scene_codec.view_pictures import PictureChoice, PictureFiles

if TYPE_CHECKING:
    from scene_codec.radiance.cameras import Camera
    from scene_codec.radiance.captured_views import Split
    from scene_codec.radiance.field import RenderedView

DEFAULT_VIEWS = 40
DEFAULT_ELEVATION = 30.0

Shading = Literal["exact", "deferred"]
"""How colours are made: for each sample as in training, or for a few samples together, many times faster."""


@dataclass(frozen=True, kw_only=True)
class ViewChoice:
    """Where pictures are taken from.

    cameras : a transforms.json, a `poses_bounds.npy`, a data set's folder, or cameras; without them a path
        around the scene, or in front of a forward-facing one
    split : which views of a data set
    frames : which of the views, by index ("3"), Python's slices ("0:10", "::8") or name; all by default
    size : (width, height) in place of the cameras' own, of the same shape
    path_views, elevation_degrees : of a path
    """

    cameras: Path | str | Sequence[Camera] | None = None
    split: Split = "all"
    frames: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    path_views: int = DEFAULT_VIEWS
    elevation_degrees: float = DEFAULT_ELEVATION


class RenderedFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One view that was rendered.

    files : names in the folder
    seconds : of rendering, without writing
    """

    name: str
    files: tuple[str, ...]
    width: int
    height: int
    seconds: float


class RenderReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `render`.

    seconds : of everything, decoding and writing included
    film : path of the film, None without one
    """

    path: str
    object: str
    codec: str
    device: str
    folder: str
    seconds: float
    render_seconds: float
    frames: tuple[RenderedFrame, ...]
    film: str | None = None


def render_views(
    file: Path | str,
    views: ViewChoice | None = None,
    *,
    only: str | None = None,
    shading: Shading = "exact",
    device: str = "auto",
    progress: Progress | None = None,
) -> Iterator[tuple[Camera, RenderedView]]:
    """Yield the pictures that cameras take of a field, each when it is asked for.

    only : name of the wanted object, where there are several
    shading : see `shaded`

    Raises `InvalidRequestError`, `CorruptFileError`, `UnsupportedVersionError`, `Cancelled`.
    """
    progress = progress or Progress()
    item = shaded(open_field(file, only, device, progress).item, shading, progress)
    yield from views_of(item, choose_cameras(item, views or ViewChoice()), progress)


def render(  # noqa: PLR0913 - keyword options of the public API
    file: Path | str,
    output: Path | str,
    views: ViewChoice | None = None,
    pictures: PictureChoice | None = None,
    *,
    only: str | None = None,
    shading: Shading = "exact",
    device: str = "auto",
    progress: Progress | None = None,
) -> RenderReport:
    """Write a picture of each view into a folder, named after the view, and a film when one is wanted.

    After an error or a cancellation the pictures that were finished stay, whole, and there is no film.

    Raises what `render_views` raises, and `MissingDependencyError` for a film without PyAV.
    """
    started = time.monotonic()
    progress = progress or Progress()
    opened = open_field(file, only, device, progress)
    item = shaded(opened.item, shading, progress)
    cameras = choose_cameras(item, views or ViewChoice())
    names = object_file_names((camera.name for camera in cameras), "")
    frames: list[RenderedFrame] = []
    with contextlib.ExitStack() as stack:
        files = stack.enter_context(PictureFiles(Path(output), names, cameras, pictures or PictureChoice()))
        before = time.perf_counter()
        try:
            for index, (camera, view) in enumerate(views_of(item, cameras, progress)):
                seconds = time.perf_counter() - before
                written = files.write(index, view, white=item.field.domain.white_background)
                frames.append(
                    RenderedFrame(
                        name=camera.name,
                        files=written,
                        width=camera.width,
                        height=camera.height,
                        seconds=seconds,
                    )
                )
                before = time.perf_counter()
        except Cancelled as stop:
            done = f"{len(frames)} of {len(cameras)} views"
            raise Cancelled(f"Stopped after {done}; pictures written to '{output}' are whole.") from stop
    return RenderReport(
        path=str(file),
        object=opened.item.name,
        codec=opened.summary.codec,
        device=str(opened.item.field.device),
        folder=str(output),
        seconds=time.monotonic() - started,
        render_seconds=sum(frame.seconds for frame in frames),
        frames=tuple(frames),
        film=None if pictures is None or pictures.film is None else str(pictures.film),
    )


@dataclass(frozen=True, eq=False)
class OpenedField:
    """A field of a file, and what the file says of it.

    seconds : of decoding
    """

    item: RadianceObject
    entry: ObjectSummary
    summary: FileSummary
    seconds: float


def open_field(file: Path | str, only: str | None, device: str, progress: Progress) -> OpenedField:
    """Return the radiance field of a file. Raises `InvalidRequestError` unless exactly one is meant."""
    summary = api.inspect(file)
    codec = all_codecs().get(summary.codec)
    if codec is not None and codec.info.content != "radiance":
        kind = "meshes" if codec.info.content == "mesh" else "volumes"
        raise InvalidRequestError(f"'{file}' holds {kind}; only radiance fields can be seen from cameras.")
    entries = {entry.name: entry for entry in summary.objects}
    some = ", ".join(f"'{name}'" for name in list(entries)[:10]) + (", ..." if len(entries) > 10 else "")
    if only is None and len(entries) != 1:
        raise InvalidRequestError(
            f"'{file}' holds {len(entries)} radiance fields ({some}). Say which one: --only NAME."
        )
    if only is not None and only not in entries:
        raise InvalidRequestError(f"There is no object '{only}' in '{file}'. It holds: {some or 'none'}.")
    entry = entries[only] if only is not None else summary.objects[0]
    started = time.perf_counter()
    # Its own reporter without a callback: the fraction done is that of the views.
    (item,) = api.decode(file, only=entry.name, device=device)
    progress.check_cancelled()
    if not isinstance(item, RadianceObject):
        raise CorruptFileError(f"'{file}' does not hold what its codec '{summary.codec}' is for.")
    return OpenedField(item, entry, summary, time.perf_counter() - started)


def shaded(item: RadianceObject, shading: Shading, progress: Progress) -> RadianceObject:
    """Return a field with another way of making its colours.

    Raises `InvalidRequestError` for a field that has no other one, `Cancelled`.
    """
    if shading == "exact":
        return item
    from scene_codec.voxel_fields.interactive import InteractiveField
    from scene_codec.voxel_fields.voxel_field import VoxelField

    if not isinstance(item.field, VoxelField):
        raise InvalidRequestError(
            f"The field {item.name!r} has no deferred shading, which is for fields on grids; this one is a "
            "network. Render it with exact shading."
        )
    field = InteractiveField.of_model(item.field.model, item.field.domain, levels=1, progress=progress)
    return replace(item, field=field)


def choose_cameras(item: RadianceObject, choice: ViewChoice) -> tuple[Camera, ...]:
    """Return the cameras that are meant, in the world. Raises `InvalidRequestError`."""
    from scene_codec.radiance.camera_paths import camera_path
    from scene_codec.radiance.posed_images import load_cameras

    if choice.cameras is None:
        path = camera_path(item.field.domain, choice.path_views, choice.elevation_degrees, choice.size)
        scale = _scale(item)
        turn = item.transform @ np.diag([1 / scale, 1 / scale, 1 / scale, 1.0])
        cameras = tuple(
            replace(camera, pose=_moved(turn @ camera.pose, item.transform, camera.pose)) for camera in path
        )
    elif isinstance(choice.cameras, Path | str):
        found = load_cameras(Path(choice.cameras), split=choice.split, size=choice.size)
        cameras = tuple(image.camera for image in found.images)
    else:
        cameras = tuple(
            camera if choice.size is None else camera.resized(*choice.size) for camera in choice.cameras
        )
    named = tuple(
        camera if camera.name else replace(camera, name=f"view_{index:03d}")
        for index, camera in enumerate(cameras)
    )
    chosen = _chosen_frames(named, choice.frames)
    if not chosen:
        raise InvalidRequestError("There is no view to render: the choice of frames leaves none.")
    return chosen


def views_of(
    item: RadianceObject, cameras: Sequence[Camera], progress: Progress
) -> Iterator[tuple[Camera, RenderedView]]:
    """Yield what cameras in the world see of a field. Raises `Cancelled`."""
    from scene_codec.radiance.field import render_view

    scale = _scale(item)
    to_object = np.linalg.inv(item.transform)
    for index, camera in enumerate(cameras):
        part = progress.part(index / len(cameras), (index + 1) / len(cameras), "rendering")
        pose = to_object @ camera.pose
        # Rays keep the field's own unit of length, in which near and far are counted.
        pose[:3, :3] *= scale
        view = render_view(item.field, replace(camera, pose=pose), part)
        part.update(1.0, camera.name)
        yield camera, view if scale == 1.0 else replace(view, depth=view.depth * np.float32(scale))


def _moved(
    turned: NDArray[np.float64], transform: NDArray[np.float64], pose: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a pose in the world: turned without the transform's scale, its place moved by all of it."""
    moved = turned.copy()
    moved[:3, 3] = (transform @ pose)[:3, 3]
    return moved


def _scale(item: RadianceObject) -> float:
    """Return by how much an object's transform scales. Raises `InvalidRequestError` if it does more."""
    linear = np.asarray(item.transform, np.float64)[:3, :3]
    if np.array_equal(linear, np.eye(3)):
        return 1.0
    scale = float(np.cbrt(np.linalg.det(linear)))
    if not scale > 0.0 or not np.allclose(linear @ linear.T, scale**2 * np.eye(3), atol=1e-4 * scale**2):
        raise InvalidRequestError(
            f"The field {item.name!r} is placed by a transform that mirrors, shears or scales unevenly; "
            "pictures are taken of fields that are moved, turned and scaled evenly."
        )
    return scale


def _chosen_frames(cameras: tuple[Camera, ...], frames: Sequence[str]) -> tuple[Camera, ...]:
    """Return the cameras that words of the user name, each once, in the order of the words."""
    if not frames:
        return cameras
    place_of = {camera.name: index for index, camera in enumerate(cameras)}
    chosen: dict[int, None] = {}
    for word in frames:
        if word in place_of:
            chosen[place_of[word]] = None
            continue
        try:
            numbers = [int(part) if part.strip() else None for part in word.split(":")]
            if len(numbers) == 1:
                chosen[range(len(cameras))[numbers[0] or 0]] = None
            else:
                chosen.update(dict.fromkeys(range(len(cameras))[slice(*numbers)]))
        except (ValueError, TypeError, IndexError) as error:
            raise InvalidRequestError(
                f"There is no view '{word[:80]}': choose by index (0 to {len(cameras) - 1}), by slice "
                f"(0:10, ::8), or by name, such as '{cameras[0].name}'."
            ) from error
    return tuple(cameras[index] for index in chosen)
