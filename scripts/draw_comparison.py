"""Draws docs/pictures/compare.png: what `scene-codec compare` shows of a made-up cloud and a surface.

python scripts/draw_comparison.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import scene_codec
from measurement.provenance import CHECKOUT
from scene_codec.cli.main import main as scene_codec_command
from scene_codec.volumes.procedural import narrow_band, smoke
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import save_volume

PICTURE = CHECKOUT / "docs" / "pictures" / "compare.png"
SIDE = 80
PSNR = 36.0
"""Low, so that there is something to see."""


def main() -> None:
    """Make the volume, encode it and draw it."""
    with tempfile.TemporaryDirectory() as folder:
        original, coded = Path(folder) / "cloud.vdb", Path(folder) / "cloud.nscene"
        save_volume(made_volume(), original)
        scene_codec.encode(original, coded, settings={"psnr": PSNR}, device="cpu")
        words = [str(original), str(coded), "-o", str(PICTURE), "--slices", "2", "--overwrite"]
        if scene_codec_command(["compare", *words]):
            raise SystemExit("The comparison failed.")


def made_volume() -> VolumeObject:
    """Return a cloud of smoke and a level set, the same ones each time."""
    cloud = smoke(SIDE, np.random.default_rng(11))
    distances = narrow_band(SIDE, np.random.default_rng(6))
    width = float(distances.max())
    to_object = np.diag([0.05, 0.05, 0.05, 1.0])
    inside = np.abs(distances) < width
    grids = (
        VolumeGrid("density", cloud, cloud > 0.0, to_object=to_object, kind="fog volume"),
        VolumeGrid("surface", distances, inside, background=(width,), to_object=to_object, kind="level set"),
    )
    return VolumeObject("cloud", grids, file_format="vdb")


if __name__ == "__main__":
    main()
