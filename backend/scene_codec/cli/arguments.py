"""The arguments of every command as typed records; flags, help and checks are generated from them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import tyro
from tyro.conf import Positional, arg

Settings = TypeVar("Settings")
Record = TypeVar("Record")
Device = Literal["auto", "cpu", "cuda"]
Split = Literal["train", "val", "test", "all"]
FileFormat = Literal[
    "ply", "obj", "glb", "stl", "vdb", "npy", "npz", "nrrd", "nii", "nii.gz", "tif", "raw", "tar"
]

Inputs = Annotated[tuple[str, ...], arg(metavar="INPUT...")]
SceneFile = Annotated[Path, arg(metavar="FILE.nscene")]
OutputPath = Annotated[Path, arg(aliases=["-o"], metavar="PATH")]


@dataclass(frozen=True, kw_only=True)
class EncodeArguments(Generic[Settings]):
    """What `encode` takes."""

    inputs: Positional[Inputs]
    """Files of meshes (OBJ, PLY, STL, GLB, glTF, OFF), of volumes (VDB, NRRD, NIfTI, TIFF, npy, npz, raw) or
    of trained radiance fields (tar, ckpt, pairs of npy; of voxels also npz, th, zip), folders, and patterns
    such as 'parts/*.stl'."""

    output: OutputPath
    """The .nscene file to write; an older one of that name is replaced when all is done."""

    settings: Annotated[Settings, arg(name="")]
    """The codec's own settings; the values shown are those of the preset."""

    codec: str | None = None
    """Which codec; list-codecs shows all. By default the one for what is encoded."""

    preset: str | None = None
    """A named choice of settings; list-codecs shows them. Flags given beside it win."""

    device: Device = "auto"
    """Where to compute; auto takes a CUDA device when there is one."""

    json: bool = False
    """Print the report as JSON on stdout and nothing else there."""


@dataclass(frozen=True, kw_only=True)
class EstimateArguments(Generic[Settings]):
    """What `estimate` takes."""

    inputs: Positional[Inputs]
    """Files of meshes (OBJ, PLY, STL, GLB, glTF, OFF), folders, and patterns such as 'parts/*.stl'."""

    settings: Annotated[Settings, arg(name="")]
    """The codec's own settings; the values shown are those of the preset."""

    codec: str | None = None
    """Which codec, of those that can tell beforehand; mesh-surface by default."""

    preset: str | None = None
    """A named choice of settings; list-codecs shows them. Flags given beside it win."""

    json: bool = False
    """Print the report as JSON on stdout and nothing else there."""


@dataclass(frozen=True, kw_only=True)
class AddArguments(Generic[Settings]):
    """What `add` takes."""

    file: Positional[SceneFile]
    """The file that gets more objects."""

    inputs: Positional[Inputs]
    """Files, folders and patterns to add, of what the file holds."""

    settings: Annotated[Settings, arg(name="")]
    """Settings of the file's codec, for what is added; the values shown are those of the preset."""

    output: Annotated[Path | None, arg(aliases=["-o"], metavar="PATH")] = None
    """Write to this file and leave FILE.nscene as it is; without it FILE.nscene is replaced."""

    preset: str | None = None
    """A named choice of settings; list-codecs shows them. Flags given beside it win."""

    device: Device = "auto"
    """Where to compute."""

    json: bool = False
    """Print the report as JSON on stdout and nothing else there."""


@dataclass(frozen=True, kw_only=True)
class DecodeArguments:
    """What `decode` takes."""

    file: Positional[SceneFile]
    """The file to decode."""

    output: OutputPath
    """The folder for the files, one per object; made when it is not there."""

    only: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, arg(metavar="NAME")] = ()
    """Decode this object alone; may be given several times."""

    format: FileFormat | None = None
    """Format of the files: by default ply for meshes, and for volumes the format they came from. Of a
    radiance field, a format of meshes gets the surface of the density (ply by default), one of volumes the
    density itself, and tar, of a voxel field, the field as a checkpoint of DirectVoxGO."""

    triangles: Annotated[int | None, arg(metavar="N")] = None
    """Of meshes: at most so many triangles each. A mesh with more is simplified, one with fewer left as it
    is; meshes of separate parts may lose the smallest."""

    resolution: int | None = None
    """Of a radiance field: cells along the longest side, 256 by default."""

    threshold: float | None = None
    """Of a radiance field: density of the surface, 50 in a scene of the usual size by default."""

    overwrite: bool = False
    """Replace files of the same names that are there already."""

    device: Device = "auto"
    """Where to compute."""

    json: bool = False
    """Print what was written as JSON on stdout and nothing else there."""


@dataclass(frozen=True, kw_only=True)
class InspectArguments:
    """What `inspect` takes."""

    file: Positional[SceneFile]
    """The file to look into; nothing is decoded."""

    json: bool = False
    """Print the summary as JSON."""


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments:
    """What `evaluate` takes."""

    file: Positional[SceneFile]
    """The file to measure."""

    reference: Annotated[tuple[Path, ...], arg(metavar="PATH...")] = ()
    """The originals of meshes: a folder, or mesh files."""

    images: Annotated[Path | None, arg(metavar="DATASET")] = None
    """Pictures with cameras to measure a radiance field against: a folder in the layout of NeRF's synthetic
    scenes, of LLFF, of instant-ngp or of NSVF, or a transforms.json."""

    split: Split = "test"
    """Which views of the pictures."""

    every: Annotated[int, arg(metavar="N")] = 1
    """Take each N-th of the views, from the first."""

    size: Annotated[str | None, arg(metavar="WxH")] = None
    """Size of the views, to which the pictures are averaged down; by default that of the pictures."""

    only: Annotated[str | None, arg(metavar="NAME")] = None
    """Which radiance field, where the file holds several."""

    json: Annotated[Path | None, arg(metavar="OUT")] = None
    """Write the full report to this file as JSON; '-' stands for stdout, without the table."""

    samples: int | None = None
    """Points sampled on each surface of meshes, 100,000 by default."""

    seed: int | None = None
    """Start of the random draws of the samples."""

    device: Device = "auto"
    """Where to decode."""


@dataclass(frozen=True, kw_only=True)
class ReportArguments:
    """What `doctor` and `list-codecs` take."""

    json: bool = False
    """Print the answer as JSON."""


def early_parser() -> argparse.ArgumentParser:
    """Return a parser for flags that are looked up before all are parsed: others, or help, depend on them.

    It takes neither help nor the beginnings of flags for itself, and leaves everything else to `parse`.
    """
    return argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)


def parse(
    record: type[Record], command: str, help_text: str, arguments: list[str], default: Record | None = None
) -> Record:
    """Return `arguments` as a `record`; help or a usage error ends the program, as with argparse."""
    flags = (tyro.conf.FlagCreatePairsOff,)
    prog = f"scene-codec {command}"
    if default is None:
        return tyro.cli(record, prog=prog, description=help_text, args=arguments, config=flags)
    return tyro.cli(record, prog=prog, description=help_text, args=arguments, default=default, config=flags)
