"""The backend's side of the tests of OpenVDB files: `vdb_exchange.py dump FILE FOLDER`, `save FILE FOLDER`.

`dump` writes what the backend loads as arrays and JSON; `save` writes it back as .vdb with every compression.
"""

import json
import sys
from pathlib import Path

import numpy as np

from scene_codec.volumes.vdb_file import load_vdb, save_vdb

COMPRESSIONS = ("zip", "blosc", "none")


def dump(volume, folder: Path) -> None:
    """Write each grid's values and mask as .npy, the rest as grids.json."""
    records = []
    for index, grid in enumerate(volume.grids):
        np.save(folder / f"values_{index}.npy", grid.values)
        active = np.ones(grid.shape, bool) if grid.active is None else grid.active
        np.save(folder / f"active_{index}.npy", active)
        record = {
            "name": grid.name,
            "corner": grid.corner,
            "background": grid.background,
            "to_object": grid.to_object.tolist(),
            "kind": grid.kind,
            "half": grid.half,
            "metadata": dict(grid.metadata),
        }
        records.append(record)
    text = json.dumps({"grids": records, "metadata": dict(volume.metadata)})
    (folder / "grids.json").write_text(text, "utf-8")


def main() -> None:
    """Do what the command line says."""
    what, source, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    volume = load_vdb(source)
    if what == "dump":
        dump(volume, folder)
    else:
        for compression in COMPRESSIONS:
            save_vdb(volume, folder / f"{compression}.vdb", compression=compression)


main()
