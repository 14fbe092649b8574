"""What the golden files of radiance-vqrf and of integers on nodes hold, and how they were made.

Run `python tests/golden/make_golden_radiance_vqrf.py` after adding a case. It writes the files that are
missing and never touches one that exists. Fields are written from integers, nothing is trained.
"""

import hashlib
import json
import runpy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import scene_codec
from scene_codec.bitstream import ObjectRecord, SceneContent, Section, serialise
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.codecs.radiance_vqrf.paper_grid import PaperGrid
from scene_codec.codecs.radiance_vqrf.paper_plane_syntax import write_planes
from scene_codec.codecs.radiance_vqrf.paper_planes import ChannelBytes, PaperPlane, PaperPlanes
from scene_codec.codecs.radiance_vqrf.paper_rounding import EightBits
from scene_codec.codecs.radiance_vqrf.paper_syntax import write_paper
from scene_codec.codecs.radiance_vqrf.stored_field import (
    LENS,
    RULES,
    SPACE,
    FieldHeader,
    StoredPlanes,
    StoredShader,
)
from scene_codec.codecs.radiance_vqrf.syntax import PAYLOAD_VERSION, CodedField, field_section, write_values
from scene_codec.entropy.node_values import encode_node_values
from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.field import render_view
from scene_codec.radiance.ray_supply import made_cameras
from scene_codec.radiance.scene_domain import SceneDomain

FOLDER = Path(__file__).parent
FIELDS_FILE = "radiance-vqrf-v1.json"
VALUES_FILE = "node-values-v1.json"
POINTS = 32

_MADE = runpy.run_path(str(FOLDER / "make_golden_files.py"))
pseudo_random, two_sided = _MADE["pseudo_random"], _MADE["two_sided"]

NETWORK = StoredShader(kind="network", features=4, widths=(6, 5), view_octaves=1)
RESIDUAL = StoredShader(
    kind="network", features=5, widths=(7,), view_octaves=2, feature_octaves=1, residual=True
)
HARMONICS = StoredShader(kind="harmonics", features=27)
PLAIN = StoredShader(kind="plain", features=3)


@dataclass(frozen=True)
class Case:
    """An object of a file."""

    header: FieldHeader
    sections: tuple[Section, ...]


def solid(shape: tuple[int, int, int], reach: float = 1.0) -> np.ndarray:
    """Return the nodes (x, y, z) bool of an ellipsoid without some."""
    axes = np.meshgrid(*(np.linspace(-1.0, 1.0, side) for side in shape), indexing="ij")
    inside: np.ndarray = sum(axis * axis for axis in axes) < reach
    return inside & (pseudo_random(inside.size, 5).reshape(shape) % 20 > 0)


def header_of(shape: tuple[int, int, int], shader: StoredShader, **changes: object) -> FieldHeader:
    """Return the description of a field."""
    described = {
        "method": "rate",
        "family": "dvgo",
        "shape": shape,
        "softplus": True,
        "rules": RULES.pack(-6.0, 5.0, 0.0625, 2.0**-10, 2.0**-10, 2.0**-10),
        "shader": shader,
        "space": SPACE.pack(2.0, 6.0, -1.0, -0.875, -1.125, 1.0, 1.125, 0.875),
        "white_background": True,
        "hundredths": (3210, -1),
        "source_parameters": 1_234_567,
    }
    return FieldHeader(**(described | changes))


def densities(held: np.ndarray) -> np.ndarray:
    """Return integers (nodes, 1) that fall from the middle, with some noise."""
    places = np.argwhere(held) - 0.5 * (np.array(held.shape) - 1)
    far = np.sqrt((places * places * 4).sum(axis=1)).astype(np.int64)
    return (90 - 3 * far + two_sided(len(far), 4, 3)).astype(np.int32)[:, None]


def layers_of(shader: StoredShader) -> tuple[IntegerLayer, ...]:
    """Return layers of a shader in integers."""
    layers = []
    for number, (rows, columns) in enumerate(shader.sizes):
        weights = two_sided(rows * columns, 12, 40 + number).reshape(rows, columns).astype(np.int32)
        exponents = (-14 + pseudo_random(rows, 50 + number) % 4).astype(np.int32)
        biases = two_sided(rows, 9, 60 + number).astype(np.int32)
        layers.append(IntegerLayer(weights, biases, exponents, -12))
    return tuple(layers)


def rated(shape: tuple[int, int, int], shader: StoredShader, coordinates: int, **changes: object) -> Case:
    """Return a field of the method rate."""
    held = solid(shape)
    nodes = int(held.sum())
    header = header_of(shape, shader, nodes=nodes, coordinates=coordinates, **changes)
    features = two_sided(nodes * coordinates, 15, 9).reshape(nodes, coordinates).astype(np.int32)
    features += densities(held) // 8
    feature_map = two_sided(coordinates * shader.features, 60, 10) / 64.0
    field = CodedField(
        header=header,
        held=held,
        densities=densities(held),
        density_step=0.125,
        features=features,
        feature_step=0.0625,
        feature_map=feature_map.reshape(coordinates, shader.features).astype(np.float16),
        layers=layers_of(shader),
    )
    return Case(header, (field_section(header), *write_values(field)))


def halves(count: int, seed: int) -> np.ndarray:
    """Return so many half floats."""
    return (two_sided(count, 60, seed) / 64.0).astype(np.float16)


def network_halves(shader: StoredShader) -> tuple[np.ndarray, ...]:
    """Return weights and biases in turns."""
    arrays = []
    for number, (rows, columns) in enumerate(shader.sizes):
        arrays += [halves(rows * columns, 70 + number).reshape(rows, columns), halves(rows, 80 + number)]
    return tuple(arrays)


def published(shader: StoredShader, codes: int) -> Case:
    """Return a grid of the method vqrf."""
    held = solid((7, 8, 6)).reshape(-1)
    kept = held & (pseudo_random(held.size, 12) % 3 == 0)
    header = header_of((7, 8, 6), shader, method="vqrf", nodes=int(held.sum()), coordinates=shader.features,
                       codes=codes)  # fmt: skip
    count = int(kept.sum())
    grid = PaperGrid(
        held=held,
        kept=kept,
        density=EightBits(densities(held.reshape(7, 8, 6)).clip(-128, 127).astype(np.int8), 0.125, 2),
        own=EightBits(
            two_sided(count * shader.features, 30, 13).reshape(count, -1).astype(np.int8), 0.0625, -1
        ),
        codes=(pseudo_random(int(held.sum()) - count, 14) % codes).astype(np.uint16),
        codebook=halves(codes * shader.features, 15).reshape(codes, -1),
        network=network_halves(shader),
    )
    sections = (Section(kind, content) for kind, content in write_paper(grid).items())
    return Case(header, (field_section(header), *sections))


def planes() -> Case:
    """Return planes and lines of the method vqrf."""
    shape, codes, density, appearance = (6, 7, 5), 9, (2, 3, 2), (4, 2, 3)
    limits = SPACE.pack(1.5, 6.5, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0)
    stored = StoredPlanes(density=density, appearance=appearance, limits=limits, mask=(4, 5, 6))
    rules = RULES.pack(0.5, 3.0, 0.0625, 0.0, 2.0**-10, 0.0)
    header = header_of(
        shape, RESIDUAL, method="vqrf", family="tensorf-vm", codes=codes, planes=stored, rules=rules
    )
    counts = [shape[a] * shape[b] for a, b in ((0, 1), (0, 2), (1, 2))]
    held = tuple(pseudo_random(count, 20 + index) % 5 > 0 for index, count in enumerate(counts))
    kept = tuple(own & (pseudo_random(own.size, 30 + index) % 3 == 0) for index, own in enumerate(held))

    def made(components: tuple[int, int, int], seed: int) -> tuple[PaperPlane, ...]:
        found = []
        for index, width in enumerate(components):
            own, coded = int(kept[index].sum()), int((held[index] & ~kept[index]).sum())
            stored_bytes = two_sided(own * width, 40, seed + index).reshape(own, width).astype(np.int8)
            scales = (np.arange(1, width + 1) / 16.0).astype(np.float32)
            zeros = (np.arange(width) - 0.5).astype(np.float32)
            choice = (pseudo_random(coded, seed + index) % codes).astype(np.uint16)
            codebook = halves(codes * width, seed + 9 + index).reshape(codes, width)
            found.append(PaperPlane(ChannelBytes(stored_bytes, scales, zeros), choice, codebook))
        return tuple(found)

    components = zip(density + appearance, (2, 1, 0) * 2, strict=True)
    lines = [
        halves(count * shape[axis], 90 + index).reshape(count, -1)
        for index, (count, axis) in enumerate(components)
    ]
    basis = halves(RESIDUAL.features * sum(appearance), 99).reshape(RESIDUAL.features, -1)
    content = PaperPlanes(
        held=held,
        kept=kept,
        density=made(density, 100),
        appearance=made(appearance, 130),
        others=(*lines, basis, *network_halves(RESIDUAL)),
        mask=pseudo_random(4 * 5 * 6, 17) % 6 > 0,
    )
    sections = (Section(kind, own) for kind, own in write_planes(content).items())
    return Case(header, (field_section(header), *sections))


def cases() -> dict[str, Case]:
    """Return the fields by the name of their file."""
    rules = RULES.pack(0.0, 2.0, 0.125, 0.0, 0.0, 2.0**-20)
    forward = {
        "space": SPACE.pack(0.0, 1.0, -0.75, -0.5, -1.0, 0.5, 0.75, 0.5),
        "lens": LENS.pack(1.6, 2.1),
        "white_background": False,
    }
    return {
        "rate-network": rated((12, 13, 11), NETWORK, 4),
        "rate-residual": rated((9, 10, 8), RESIDUAL, 5),
        "rate-harmonics": rated((7, 6, 9), HARMONICS, 27, softplus=False, rules=rules, family="plenoxels"),
        "rate-forward": rated((10, 9, 8), PLAIN, 2, **forward),
        "vqrf-network": published(NETWORK, 13),
        "vqrf-plain": published(PLAIN, 2),
        "vqrf-planes": planes(),
    }


def described(name: str) -> dict[str, object]:
    """Return what must never change of a file: stored values as a digest, and what is seen."""
    (item,) = scene_codec.decode(FOLDER / name, device="cpu")
    model, domain = item.field.model, item.field.domain
    digest = hashlib.blake2b(digest_size=16)
    for values in model.parameters().values():
        # Sums of products are rounded in an order that the machine chooses.
        digest.update(np.rint(values.numpy().astype(np.float64) * 2.0**12).astype("<i8").tobytes())
    share = torch.tensor(pseudo_random(3 * POINTS, 11) % 4096).view(POINTS, 3) / 4096.0
    low, high = torch.tensor(domain.low), torch.tensor(domain.high)
    with torch.inference_mode():
        density = item.field.density(low + (high - low) * share)
    view = render_view(item.field, camera_of(domain))
    return {
        "values": digest.hexdigest(),
        "domain": {key: list(own) if isinstance(own, tuple) else own for key, own in vars(domain).items()},
        "limits": vars(model.limits),
        "density": density.tolist(),
        "colour": view.colour.reshape(-1).tolist(),
        "opacity": view.opacity.reshape(-1).tolist(),
    }


def camera_of(domain: SceneDomain) -> Camera:
    """Return a camera that sees the scene in a few pixels."""
    if domain.ndc is None:
        camera = made_cameras(domain, 5)[2].resized(8, 6)
        return replace(camera, focal_x=0.8 * camera.focal_x, focal_y=0.8 * camera.focal_y)
    return Camera(width=8, height=6, focal_x=6.4, focal_y=6.3, centre_x=4.0, centre_y=3.0, pose=np.eye(4))


def grids() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return integers and where they are held."""
    ball, box = solid((11, 9, 12)), np.ones((3, 2, 5), bool)
    wide = two_sided(2 * int(ball.sum()), 300, 31).reshape(-1, 2)
    row = np.zeros((9, 1, 40), bool)
    row[4] = True
    large = np.array([((1 << 24) - 1) * (-1) ** index for index in range(30)])[:, None]
    return {
        "smooth": (np.concatenate([densities(ball), densities(ball) // 2], axis=1), ball),
        "noise": (wide, ball),
        "zeros": (np.zeros((int(ball.sum()), 3)), ball),
        "large": (large, box),
        "one row": (np.arange(40)[:, None] * np.arange(1, 5), row),
        "one node": (np.array([[-7, 300]]), np.ones((1, 1, 1), bool)),
    }


def main() -> None:
    """Write the files that are missing."""
    known = {}
    for case, own in cases().items():
        name = f"radiance-vqrf-v1-{case}.nscene"
        if not (FOLDER / name).exists():
            content = SceneContent("radiance-vqrf", PAYLOAD_VERSION, (), (ObjectRecord(case, own.sections),))
            (FOLDER / name).write_bytes(serialise(content))
        known[case] = described(name)
    stored = {
        name: {
            "shape": list(held.shape),
            "held": np.packbits(held).tobytes().hex(),
            "values": values.astype(int).tolist(),
            "bytes": encode_node_values(values.astype(np.int32), held).hex(),
        }
        for name, (values, held) in grids().items()
    }
    for name, content in ((FIELDS_FILE, known), (VALUES_FILE, stored)):
        if not (FOLDER / name).exists():
            (FOLDER / name).write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
