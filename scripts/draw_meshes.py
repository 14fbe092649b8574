"""Draws meshes at three rates: the original, what our file gives back, and the best of the same bytes else.

    python scripts/draw_meshes.py --data FOLDER [--out FILE]

FOLDER holds dev/ with the meshes. Below each of our three views is simplification followed by Draco: of many
numbers of faces and bits the one with the least error that takes no more bytes than our whole file. Under
every view stand bytes and point-to-surface error, in thousandths of half the largest extent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import scene_codec
from baselines.draco import PLACEMENT_BYTES, draco_decode, draco_encode, framed
from demonstration.rasteriser import CLAY, JADE, Camera, Material, render
from measurement.provenance import CHECKOUT
from scene_codec.geometry.mesh_files import load_scene_objects
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance
from scene_codec.geometry.surface_simplification import SurfaceSimplifier
from scene_codec.metrics.mesh_distance import compare_meshes

MESHES = (
    "human_woman.obj", "armadillo.obj", "wingnut.obj", "mountain.obj", "YcbPowerDrill.obj", "scorpion.obj",
)  # fmt: skip
TARGETS = (0.3, 0.1, 0.03)
"""Percent of the diagonal."""

FACES = tuple(round(40 * 1.25**power) for power in range(24))
BITS = (6, 7, 8, 9, 10, 11)
SAMPLES = 10_000

VIEW, CAPTION, GAP = 230, 26, 14
PAPER, INK, FADED = (250, 250, 248), (38, 40, 44), (112, 116, 124)
SAND = Material(front=(0.80, 0.66, 0.52), back=(0.55, 0.42, 0.33))


@dataclass(frozen=True)
class Shown:
    """A mesh and what it took, in the coordinates of its original."""

    mesh: TriangleMesh
    bytes: int


def main() -> int:
    """Code, measure and draw; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs" / "pictures" / "meshes_at_rates.png")
    options = parser.parse_args()
    paths = [options.data / "dev" / name for name in MESHES]
    missing = [path for path in paths if not path.exists()]
    if missing:
        print(f"There is no '{missing[0]}'; nothing is drawn.", file=sys.stderr)
        return 2
    blocks = [block_of(path) for path in paths]
    width, height = blocks[0].size
    sheet = Image.new("RGB", (2 * width + 3 * GAP, len(blocks) // 2 * (height + GAP) + GAP), PAPER)
    for place, block in enumerate(blocks):
        row, column = divmod(place, 2)
        sheet.paste(block, (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    sheet.quantize(256, dither=Image.Dither.NONE).save(options.out, optimize=True)
    print(options.out)
    return 0


def block_of(path: Path) -> Image.Image:
    """Return the views of one mesh: the original on the left, ours above, the rival below."""
    (item,) = load_scene_objects(path)
    original = item.mesh
    upright = original.vertices[:, [2, 0, 1]] if path.suffix == ".obj" else original.vertices
    camera = Camera.around(upright)
    block = Image.new("RGB", (4 * VIEW, 2 * (VIEW + CAPTION)), PAPER)
    draw = Drawing(block, camera, turned=path.suffix == ".obj")
    draw.view(original, CLAY, (0, (VIEW + CAPTION) // 2), f"{path.stem}: {len(original.faces):,} triangles")
    simplified = simplified_of(original)
    for column, target in enumerate(TARGETS, 1):
        ours = coded(path, target)
        rival = best_rival(original, simplified, ours.bytes)
        for row, (shown, material) in enumerate(((ours, JADE), (rival, SAND))):
            if shown is None:
                continue
            error = 1e3 * compare_meshes(original, shown.mesh, samples=SAMPLES).point_to_surface
            draw.view(
                shown.mesh,
                material,
                (column * VIEW, row * (VIEW + CAPTION)),
                f"{('ours', 'Draco')[row]}: {shown.bytes:,} B, {error:.2f}",
            )
    return block


@dataclass(frozen=True)
class Drawing:
    """Where the views of a mesh go."""

    image: Image.Image
    camera: Camera
    turned: bool

    def view(self, mesh: TriangleMesh, material: Material, corner: tuple[int, int], caption: str) -> None:
        """Draw a mesh with a line under it."""
        vertices = mesh.vertices[:, [2, 0, 1]] if self.turned else mesh.vertices
        view = Image.fromarray(render(vertices, mesh.faces, self.camera, material, size=VIEW))
        self.image.paste(view, corner, view)
        pen = ImageDraw.Draw(self.image)
        pen.text((corner[0] + 8, corner[1] + VIEW + 3), caption, INK, ImageFont.load_default(14))


def coded(path: Path, target: float) -> Shown:
    """Return what comes back from a file of ours, and the bytes of the whole file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "one.nscene"
        scene_codec.encode(path, file, codec="mesh-surface", settings={"target_error": target})
        (item,) = scene_codec.decode(file)
        assert isinstance(item.mesh, TriangleMesh)
        return Shown(item.mesh, file.stat().st_size)


def simplified_of(original: TriangleMesh) -> list[TriangleMesh]:
    """Return the mesh in Draco's frame with each number of faces."""
    simplifier = SurfaceSimplifier(framed(original)[0])
    return [simplifier.to_faces(count) for count in FACES if count < len(original.faces)]


def best_rival(original: TriangleMesh, simplified: list[TriangleMesh], most: int) -> Shown | None:
    """Return the setting of simplification + Draco with the least error of those that take no more bytes."""
    frame, centre, scale = framed(original)
    surface = SurfaceDistance(frame)
    generator = np.random.default_rng(0)
    best: tuple[float, Shown] | None = None
    for mesh in simplified:
        for bits in BITS:
            data = draco_encode(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), bits)
            size = len(data) + PLACEMENT_BYTES
            if not 0.5 * most < size <= most:
                continue
            copy = draco_decode(data)
            seen = frame.vertices[generator.integers(0, len(frame.vertices), 2000)]
            error = float(SurfaceDistance(copy).closest(seen).distances.mean())
            error += float(surface.closest(copy.vertices).distances.mean())
            if best is None or error < best[0]:
                best = error, Shown(TriangleMesh(copy.vertices * scale + centre, copy.faces), size)
    return None if best is None else best[1]


if __name__ == "__main__":
    sys.exit(main())
