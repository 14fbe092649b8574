"""The project's own codecs as contenders: each mesh in a file of its own, or all meshes in one file."""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scene_codec
from measurement.kept_rows import Rows
from measurement.mesh_points import (
    Attempt,
    Coded,
    Original,
    added_gb,
    cpu_seconds,
    forget_peak,
    joined,
    measured_point,
    surface_errors,
)
from scene_codec.geometry.object_names import unique_names
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh

Value = bool | int | float | str


@dataclass(frozen=True)
class OwnSetting:
    """One setting of a codec of the project: a point of the curve `name`."""

    name: str
    codec: str
    preset: str | None
    settings: tuple[tuple[str, Value], ...]
    device: str = "cpu"
    threads: int = 1

    @property
    def label(self) -> str:
        """What tells it apart from other settings of the curve."""
        return ", ".join([self.preset or "default", *(f"{key} {value}" for key, value in self.settings)])

    @property
    def recipe(self) -> str:
        """What its points depend on, besides the meshes and the code."""
        return json.dumps([self.codec, self.preset, self.settings, self.device])


def parse_own(text: str) -> list[OwnSetting]:
    """Return the settings that NAME=CODEC:PRESET:key=value,key=value stands for, see `--ours`.

    Raises `argparse.ArgumentTypeError`.
    """
    name, _, rest = text.partition("=")
    codec, _, rest = rest.partition(":")
    preset, _, rest = rest.partition(":")
    if not name or not codec:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=CODEC:PRESET:key=value,key=value")
    choices = []
    for pair in filter(None, rest.split(",")):
        key, found, values = pair.partition("=")
        if not found:
            raise argparse.ArgumentTypeError(f"'{pair}' in '{text}' is not key=value")
        choices.append([(key, value_of(value)) for value in values.split("/")])
    return [OwnSetting(name, codec, preset or None, chosen) for chosen in itertools.product(*choices)]


def value_of(text: str) -> Value:
    """Return a switch, a number or, of all else, the words."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def alone_points(own: OwnSetting, original: Original, samples: int) -> Rows:
    """Return the point of one mesh in a file of its own."""
    limit_threads(own)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mesh.nscene"

        def encode() -> Coded:
            write_file(own, [SceneObject(Path(original.name).stem, original.mesh)], file)
            return Coded(file.stat().st_size, decode)

        def decode() -> TriangleMesh:
            return joined(placed(scene_codec.decode(file, device=own.device)))

        return [measured_point(original, Attempt(own.label, encode), samples)]


def set_points(own: OwnSetting, originals: Sequence[Original], samples: int) -> Rows:
    """Return a point for each mesh of a set in one file; its bytes are shared evenly.

    Raises `ValueError` when a mesh is not coded: the bytes of the others would say too little.
    """
    limit_threads(own)
    names = unique_names(Path(original.name).stem for original in originals)
    objects = [SceneObject(name, own_mesh.mesh) for name, own_mesh in zip(names, originals, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "set.nscene"
        before = forget_peak()
        start = cpu_seconds()
        write_file(own, objects, file)
        encoded = cpu_seconds()
        shared: dict[str, Any] = {
            "setting": own.label,
            "together": True,
            "bytes": file.stat().st_size / len(originals),
            "encode_cpu_seconds": (encoded - start) / len(originals),
            "added_gb": added_gb(before),
        }
        points = []
        decoding = scene_codec.decode(file, device=own.device)
        by_name = dict(zip(names, originals, strict=True))
        while True:
            start = cpu_seconds()
            item = next(decoding, None)
            if item is None:
                break
            seconds = cpu_seconds() - start
            original = by_name[item.name]
            errors = surface_errors(original.mesh, joined(placed(iter([item]))), samples)
            points.append({"mesh": original.name, **shared, **errors, "decode_cpu_seconds": seconds})
        return points


def limit_threads(own: OwnSetting) -> None:
    """Let torch use as many threads as the setting says."""
    import torch  # not for the processes that measure other programs

    torch.set_num_threads(own.threads)


def write_file(own: OwnSetting, objects: list[SceneObject], file: Path) -> None:
    """Encode meshes; ValueError when one is left out."""
    report = scene_codec.encode(
        objects,
        file,
        codec=own.codec,
        preset=own.preset,
        settings=dict(own.settings),
        device=own.device,
    )
    if report.failures:
        raise ValueError("; ".join(f"{failure.name}: {failure.reason}" for failure in report.failures))


def placed(items: Iterator[Any]) -> Iterator[tuple[TriangleMesh, Any]]:
    """Return decoded meshes with their transforms."""
    for item in items:
        yield item.mesh, item.transform
