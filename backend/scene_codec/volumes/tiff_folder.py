"""A folder of numbered TIFF files, one slice in each: slice_000.tif, slice_001.tif, ..."""

from __future__ import annotations

import re
import shutil
import uuid
from pathlib import Path

from scene_codec.errors import SceneCodecError, UnsupportedSceneError
from scene_codec.volumes.array_storage import storage
from scene_codec.volumes.dense_grid import checked_shape, reversed_axes, single_channel_dropped
from scene_codec.volumes.tiff_file import (
    check_bits,
    open_tiff,
    page_metadata,
    read_pages,
    tiff_grid,
    write_pages,
)
from scene_codec.volumes.volume import VolumeGrid

TIFF_SUFFIXES = (".tif", ".tiff")
_FIRST = "tiff-folder:first"
_NUMBERED = re.compile(r"(.*?)(\d+)(\.tiff?)", re.IGNORECASE)


def slice_files(folder: Path) -> list[Path]:
    """Return the TIFF files directly in a folder, by number; none when one of them has no number."""
    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in TIFF_SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    if not all(_NUMBERED.fullmatch(file.name) for file in files):
        return []
    return sorted(files, key=lambda file: (_parts(file)[0], _parts(file)[1], file.name))


def is_slice_folder(folder: Path) -> bool:
    """Tell whether a folder holds one volume: several numbered TIFF files, the first with a single page."""
    files = slice_files(folder)
    if len(files) < 2:
        return False
    try:
        with open_tiff(files[0]) as file:
            return len(file.pages) == 1
    except Exception:  # tifffile raises many types; what is no TIFF file is no slice
        return False


def load_tiff_folder(folder: Path) -> VolumeGrid:
    """Return the volume whose slices along z are the numbered TIFF files in a folder.

    Raises `UnsupportedSceneError` when numbers are missing, when there are two series, or when slices differ.
    """
    files = slice_files(folder)
    if not files:
        raise UnsupportedSceneError(
            f"'{folder}' is a folder without numbered TIFF files (slice_000.tif, slice_001.tif, ...)."
        )
    _check_numbers(folder, files)
    with open_tiff(files[0]) as file:
        first = read_pages(files[0], file)
        metadata = page_metadata(file)
    shape = (len(files), *first.shape[1:])
    checked_shape(folder, [shape[2], shape[1], shape[0], *shape[3:]])
    values = storage(shape, first.dtype)
    for index, path in enumerate(files):
        with open_tiff(path) as file:
            page = read_pages(path, file)
        if page.shape != (1, *shape[1:]) or page.dtype != first.dtype:
            raise UnsupportedSceneError(
                f"The slices '{files[0].name}' and '{path.name}' in '{folder}' must be alike, a page in each."
            )
        values[index] = page[0]
    metadata[_FIRST] = files[0].name
    return tiff_grid(folder, reversed_axes(values), metadata)


def save_tiff_folder(grid: VolumeGrid, folder: Path) -> None:
    """Write a new folder with a TIFF file for each z.

    Raises `SceneCodecError` when the folder is there and not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SceneCodecError(f"'{folder}' is there already and is not an empty folder. Choose another name.")
    values = reversed_axes(single_channel_dropped(grid.values))
    check_bits(folder, values.dtype, values.ndim)
    prefix, start, suffix, digits = _numbering(grid, len(values))
    temporary = folder.resolve().parent / f".{uuid.uuid4().hex}.tmp"
    try:
        temporary.mkdir()
        for index in range(len(values)):
            with (temporary / f"{prefix}{start + index:0{digits}d}{suffix}").open("xb") as stream:
                write_pages(stream, values[index : index + 1], grid)
        if folder.exists():
            folder.rmdir()
        temporary.replace(folder)
    except OSError as error:
        raise SceneCodecError(f"Could not write {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _parts(file: Path) -> tuple[str, int, str, int]:
    """Return what stands before the number of a slice, the number, what stands behind it, and its digits."""
    match = _NUMBERED.fullmatch(file.name)
    assert match is not None
    prefix, digits, suffix = match.groups()
    return prefix, int(digits), suffix, len(digits)


def _numbering(grid: VolumeGrid, count: int) -> tuple[str, int, str, int]:
    """Return how the slices are named: as they were, or slice_0000.tif."""
    first = Path(str(grid.metadata.get(_FIRST, "")))
    if first.name == str(first) and _NUMBERED.fullmatch(first.name):
        return _parts(first)
    return "slice_", 0, ".tif", max(4, len(str(count - 1)))


def _check_numbers(folder: Path, files: list[Path]) -> None:
    """Raise `UnsupportedSceneError` unless the files are one series without gaps."""
    prefixes = sorted({_parts(file)[0] for file in files})
    if len(prefixes) > 1:
        raise UnsupportedSceneError(
            f"'{folder}' holds several series of slices ('{prefixes[0]}', '{prefixes[1]}'). "
            "Give each a folder of its own."
        )
    numbers = [_parts(file)[1] for file in files]
    for index, number in enumerate(numbers):
        if number != numbers[0] + index:
            reason = "twice" if number < numbers[0] + index else "not"
            shown = number if number < numbers[0] + index else numbers[0] + index
            raise UnsupportedSceneError(f"Slice {shown} is {reason} in the folder '{folder}'.")
