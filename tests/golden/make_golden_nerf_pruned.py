"""What the golden files of nerf-pruned and of grids of booleans hold, and how they were made.

Run `python tests/golden/make_golden_nerf_pruned.py` after adding a case. It writes the files that are missing
and never touches one that exists. Networks are written from integers, nothing is trained.
"""

import hashlib
import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import scene_codec
from scene_codec.bitstream import ObjectRecord, SceneContent, open_scene_file, serialise
from scene_codec.codecs.nerf_pruned.silent_neurons import without_silent_neurons
from scene_codec.codecs.nerf_pruned.syntax import (
    PAYLOAD_VERSION,
    CodedField,
    FieldHeader,
    StoredShape,
    pack_domain,
    read_field,
    write_field,
)
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.entropy import bit_grid
from scene_codec.networks.radiance_shape import RadianceShape
from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.field import render_view
from scene_codec.radiance.ray_supply import made_cameras
from scene_codec.radiance.scene_domain import SceneDomain

FOLDER = Path(__file__).parent
GRIDS_FILE = "bit-grid-v1.json"
FIELDS_FILE = "nerf-pruned-v1.json"
POINTS = 24

_MADE = runpy.run_path(str(FOLDER / "make_golden_files.py"))
pseudo_random, two_sided = _MADE["pseudo_random"], _MADE["two_sided"]

WORLD = SceneDomain(near=2.0, far=6.0, white_background=True, low=(-1.0, -0.9, -1.1), high=(1.0, 1.1, 1.0))
DARK = SceneDomain(near=1.5, far=7.0, low=(-1.5,) * 3, high=(1.5,) * 3)
FORWARD = SceneDomain(
    near=0.0, far=1.0, ndc=(1.6, 2.1), corner_width=1008, low=(-1.6, -1.5, -1.0), high=(1.6, 1.5, 0.9)
)

PLAIN = RadianceShape(position_octaves=1, direction_octaves=1, trunk=(16, 16), bottleneck=12, view=(8,))
"""As published, but small."""

BARE = RadianceShape(position_octaves=2, direction_octaves=0, trunk=(14, 9), view=(7,))
VARIED = RadianceShape(
    position_octaves=3, direction_octaves=2, trunk=(12, 1, 10, 11), skips=(1, 3), linear=(1, 2),
    bottleneck=9, bottleneck_relu=True, view=(8, 6),
)  # fmt: skip


def octahedron(shape: RadianceShape, seed: int, silent: int = 0) -> tuple[IntegerLayer, ...]:
    """Return layers that show a soft octahedron in many colours.

    silent : neurons of the first layer that nobody listens to
    """
    layers = []
    for number, (name, columns, rows) in enumerate(shape.layers):
        own = 1000 * seed + number
        weights = two_sided(rows * columns, 9 + 4 * (number % 3), own).reshape(rows, columns)
        exponents = -14 + pseudo_random(rows, own) % 5 - (seed + number) % 3
        biases = two_sided(rows, 30, own)
        if name == "trunk.0":
            weights[:6] = 0
            weights[:3, :3], weights[3:6, :3] = 16 * np.eye(3), -16 * np.eye(3)
            exponents[:6], biases[:6] = -16, 0
        elif name == "trunk.1" and rows > 6:
            weights[:6] = 0
            weights[:6, :6] = 16 * np.eye(6)
            exponents[:6], biases[:6] = -16, 0
        elif name == "density":
            weights[:, : min(columns, 6)], exponents[:], biases[:] = -128, -16, 160 + number
        if silent and name == "trunk.1":
            weights[:, -silent:] = 0
        layers.append(IntegerLayer(*(part.astype(np.int32) for part in (weights, biases, exponents)), -16))
    return tuple(layers)


def solid(shape: tuple[int, int, int], reach: float) -> np.ndarray:
    """Return cells (x, y, z) bool of a solid ellipsoid with some noise."""
    x, y, z = np.meshgrid(*(np.linspace(-1.0, 1.0, side) for side in shape), indexing="ij")
    noise = pseudo_random(x.size, 7).reshape(shape) % 40
    inside: np.ndarray = x * x + y * y + z * z < reach
    return inside ^ (noise == 0)


def field_of(
    domain: SceneDomain,
    shape: RadianceShape,
    networks: list[tuple[IntegerLayer, ...]],
    cells: np.ndarray | None,
) -> CodedField:
    """Return a field of networks of one shape."""
    space, lens = pack_domain(domain)
    header = FieldHeader(
        networks=(StoredShape.of(shape),) * len(networks),
        space=space,
        lens=lens,
        white_background=domain.white_background,
        corner_width=domain.corner_width,
        cells=() if cells is None else cells.shape,
        hundredths=(3125, -1),
        zeros=250,
        source_parameters=595_844,
    )
    return CodedField(header, tuple(networks), cells)


def fields() -> dict[str, CodedField]:
    """Return the fields by the name of their file."""
    shape, layers = without_silent_neurons(PLAIN, octahedron(PLAIN, 1, silent=5))
    varied = octahedron(VARIED, 4)
    varied[2].weights[:3, 0] = (70_000, -(2**30), 2**31 - 1)
    varied[2].exponents[:3] = -120
    return {
        "cells": field_of(WORLD, shape, [layers], solid((12, 11, 10), 1.3)),
        "pair": field_of(DARK, BARE, [octahedron(BARE, 2), octahedron(BARE, 3)], None),
        "forward": field_of(FORWARD, VARIED, [varied], solid((16, 15, 14), 2.0)),
    }


def described(name: str) -> dict[str, object]:
    """Return what must never change of a file: integers and cells as a digest, and what is seen."""
    with open_scene_file(FOLDER / name) as file:
        (entry,) = file.objects
        coded = read_field({own.kind: file.read_object(entry.name, own.kind) for own in entry.sections})
    digest = hashlib.blake2b(digest_size=16)
    for layer in (layer for network in coded.networks for layer in network):
        for part in (layer.weights, layer.biases, layer.exponents, np.array([layer.bias_exponent])):
            digest.update(part.astype("<i4").tobytes())
    (item,) = scene_codec.decode(FOLDER / name, device="cpu")
    shapes = [stored.shape for stored in coded.header.networks]
    return {
        "layers": [[list(layer) for layer in shape.layers] for shape in shapes],
        "integers": digest.hexdigest(),
        "cells": None if coded.cells is None else np.packbits(coded.cells).tobytes().hex(),
        "domain": {key: _plain(value) for key, value in vars(coded.header.domain).items()},
        **seen(item.field),
    }


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def seen(field: object) -> dict[str, list[float]]:
    """Return densities of a field and what its networks say at fixed points, and a small picture."""
    domain = field.domain
    share = torch.tensor(pseudo_random(6 * POINTS, 11) % 4096).view(2, POINTS, 3) / 4096.0
    low, high = torch.tensor(domain.low), torch.tensor(domain.high)
    positions = low + (high - low) * share[0]
    directions = torch.nn.functional.normalize(share[1] - 0.5, dim=1)
    networks = [field.fine, field.coarse] if hasattr(field, "fine") else [field.network]
    with torch.inference_mode():
        raw = [torch.cat([part.reshape(-1) for part in own(positions, directions)]) for own in networks]
        density = field.density(positions)
    view = render_view(field, camera_of(domain))
    return {
        "density": density.tolist(),
        "networks": torch.cat(raw).tolist(),
        "colour": view.colour.reshape(-1).tolist(),
        "opacity": view.opacity.reshape(-1).tolist(),
    }


def camera_of(domain: SceneDomain) -> Camera:
    """Return a camera that sees the scene in a few pixels."""
    if domain.ndc is None:
        camera = made_cameras(domain, 5)[2].resized(8, 6)
        return replace(camera, focal_x=1.8 * camera.focal_x, focal_y=1.8 * camera.focal_y)
    return Camera(width=8, height=6, focal_x=6.4, focal_y=6.3, centre_x=4.0, centre_y=3.0, pose=np.eye(4))


def grids() -> dict[str, tuple[np.ndarray, bytes]]:
    """Return grids by name, and bytes that stand for them."""
    small, noisy, box = solid((9, 8, 11), 0.8), solid((22, 24, 20), 0.9), np.ones((12, 13, 14), bool)
    box[:3] = box[:, -2:] = False
    box[5:8, 4, 5:9] = False
    weights = two_sided(61, 60, 5)
    weights[[0, 3, 59, 60]] = (-1000, 1000, 12, 5)
    return {
        "empty": (np.zeros((3, 4, 5), bool), bit_grid.encode_bit_grid(np.zeros((3, 4, 5), bool))),
        "full": (np.ones((2, 1, 7), bool), bit_grid.encode_bit_grid(np.ones((2, 1, 7), bool))),
        "usual weights": (small, bit_grid._encoded(small, None)),
        "weights at their limits": (box, bit_grid._encoded(box, weights)),
        "fitted": (noisy, bit_grid.encode_bit_grid(noisy)),
        "one row": (noisy[11:12, 12:13], bit_grid._encoded(noisy[11:12, 12:13], None)),
    }


def main() -> None:
    """Write the files that are missing."""
    known = {}
    for case, field in fields().items():
        name = f"nerf-pruned-v1-{case}.nscene"
        if not (FOLDER / name).exists():
            record = ObjectRecord(case, write_field(field))
            (FOLDER / name).write_bytes(
                serialise(SceneContent("nerf-pruned", PAYLOAD_VERSION, (), (record,)))
            )
        known[case] = described(name)
    stored = {
        name: {
            "shape": list(grid.shape),
            "cells": np.packbits(grid).tobytes().hex(),
            "bytes": data.hex(),
        }
        for name, (grid, data) in grids().items()
    }
    for name, content in ((FIELDS_FILE, known), (GRIDS_FILE, stored)):
        if not (FOLDER / name).exists():
            (FOLDER / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
