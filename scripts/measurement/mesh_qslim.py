"""libigl's qslim in a process of its own, because on some meshes it takes all memory there is.

    python -m measurement.mesh_qslim MESH.npz FOLDER COUNT...        (in the folder scripts)

Writes FOLDER/COUNT.npz for each number of faces, the largest first: vertices, faces, seconds.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scene_codec.geometry.scene_object import TriangleMesh

Simplified = dict[int, tuple[TriangleMesh, float]]
"""Meshes and processor seconds by the number of faces that was asked for."""

MEMORY_LIMIT = 4 << 30
SECONDS_LIMIT = 120.0
"""For all numbers of faces of a mesh together."""


def qslim(mesh: TriangleMesh, counts: Sequence[int]) -> Simplified:
    """Return a mesh simplified to numbers of faces; those that take too long or too much are missing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "mesh.npz", vertices=mesh.vertices, faces=mesh.faces)
        words = [sys.executable, "-m", "measurement.mesh_qslim", folder / "mesh.npz", folder, *counts]
        paths = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *filter(None, sys.path)])
        with contextlib.suppress(subprocess.TimeoutExpired):  # what was done before stands
            subprocess.run(
                list(map(str, words)),
                env=os.environ | {"PYTHONPATH": paths},
                capture_output=True,
                timeout=SECONDS_LIMIT,
                check=False,
            )
        found: Simplified = {}
        for count in counts:
            if (folder / f"{count}.npz").exists():
                with np.load(folder / f"{count}.npz") as data:
                    found[count] = TriangleMesh(data["vertices"], data["faces"]), float(data["seconds"])
        return found


def main() -> None:
    """Simplify the mesh of a file to every number of faces."""
    import resource  # not on Windows, where nothing is limited

    import igl

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    source, folder, *counts = sys.argv[1:]
    with np.load(source) as mesh:
        vertices = np.asfortranarray(mesh["vertices"])
        faces = np.asfortranarray(mesh["faces"].astype(np.int32))
    for count in sorted(map(int, counts), reverse=True):
        start = time.process_time()
        points, triangles, _, _ = igl.qslim(vertices, faces, count, False)
        done = {"vertices": points, "faces": triangles.astype(np.int64).reshape(-1, 3)}
        unfinished = Path(folder) / "unfinished.npz"
        np.savez(unfinished, **done, seconds=time.process_time() - start)
        unfinished.replace(Path(folder) / f"{count}.npz")


if __name__ == "__main__":
    main()
