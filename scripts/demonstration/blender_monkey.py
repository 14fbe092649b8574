"""Writes Blender's monkey, smoothed by two levels of subdivision, as PLY. Runs in an environment with bpy."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bpy


def main(file: Path) -> None:
    """Make the monkey in an empty scene and write its evaluated triangles to `file`."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add()
    monkey = bpy.context.object
    monkey.modifiers.new("Subdivision", "SUBSURF").levels = 2
    mesh = monkey.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
    mesh.calc_loop_triangles()
    lines = ["ply", "format ascii 1.0", f"element vertex {len(mesh.vertices)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [
        f"element face {len(mesh.loop_triangles)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    lines += ["{:.7g} {:.7g} {:.7g}".format(*vertex.co) for vertex in mesh.vertices]
    lines += ["3 {} {} {}".format(*triangle.vertices) for triangle in mesh.loop_triangles]
    file.write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # Some releases hang or crash while their static objects are destroyed.
    os._exit(0)
