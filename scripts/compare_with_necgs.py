"""What mesh-surface takes at the errors that our faithful NeCGS reached, mesh by mesh.

    python scripts/compare_with_necgs.py [--out FILE]

Nothing is measured anew. Read are `docs/results/set_SET_paper_64.json`, where a whole set, or an even part of
it, lies in one file, its network with it, and the curves in `docs/results/mesh_rates_SET_alone*.json`, where
each mesh has a file of its own. A mesh that NeCGS got less near than the coarsest setting of mesh-surface
counts with the bytes of that setting.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measurement.mesh_curves import Curve, bytes_at
from measurement.results import RESULTS, Table, write_results

SETS = {
    "makehuman": ("set_makehuman_paper_64.json", 60),
    "dog_anatomy": ("set_dog_anatomy_30_paper_64.json", 367),
    "dev": ("set_dev_paper_64.json", 44),
}
"""What NeCGS came to, and the meshes of the whole set, which share its network."""

OURS = "mesh-surface"


@dataclass(frozen=True)
class Pair:
    """One mesh with both: its error and the bytes of each, those of NeCGS with and without the network."""

    error: float
    necgs: float
    latents: float
    ours: float


def main() -> int:
    """Compare and write; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "necgs_at_equal_error.json")
    options = parser.parse_args()
    rows, notes, told = [], [], {}
    for name, (paper, sharing) in SETS.items():
        pairs = paired(name, paper, sharing)
        if not pairs:
            print(f"There are no curves of {name}; measure_meshes.py makes them.", file=sys.stderr)
            return 2
        rows += rows_of(name, pairs)
        notes.append(note_of(name, pairs))
        told[name] = {"whole": median_ratio(pairs, "necgs"), "latents": median_ratio(pairs, "latents")}
    whole = ", ".join(f"{name} {count}" for name, (_, count) in SETS.items())
    notes.append(
        "Bytes of NeCGS are a mesh's own and an even share of its network, also where fewer meshes than the "
        f"whole set ({whole}) were coded; ours is read off its curve at the error that NeCGS has for the "
        "same mesh, each mesh in a file of its own."
    )
    write_results(
        options.out, Table("necgs-at-equal-error", tuple(rows), tuple(notes)), {"necgs_ratios": told}, ()
    )
    return 0


def paired(name: str, paper: str, sharing: int) -> list[Pair]:
    """Return the meshes of a set that both coded.

    sharing : so many share the network
    """
    necgs = json.loads((RESULTS / paper).read_text(encoding="utf-8"))
    network = float(necgs["file_bytes"]) - sum(item["bytes"] for item in necgs["objects"])
    curves: dict[str, Curve] = {}
    for path in sorted(RESULTS.glob(f"mesh_rates_{name}_alone*.json")):
        curves |= json.loads(path.read_text(encoding="utf-8"))["curves"].get(OURS, {})
    return [
        Pair(error, network / sharing + item["bytes"], float(item["bytes"]), size)
        for item in necgs["objects"]
        if item["reference"] in curves
        and (error := error_of(item)) is not None
        and (size := size_at([(x, y) for x, y in curves[item["reference"]]], error)) is not None
    ]


def error_of(item: dict[str, Any]) -> float | None:
    """Return the mean of the two mean distances of a mesh that came back."""
    error = item.get("error")
    if error is None:
        return None
    return 0.5 * float(error["decoded_to_reference_mean"] + error["reference_to_decoded_mean"])


def size_at(own: Curve, error: float) -> float | None:
    """Return the bytes of a curve at an error, beyond its coarse end those of that end."""
    return bytes_at(own, min(error, own[-1][0]))


def rows_of(name: str, pairs: list[Pair]) -> list[dict[str, Any]]:
    """Return a row for each of the two."""
    shared = {"objects": len(pairs), "point_to_surface": statistics.fmean(pair.error for pair in pairs)}
    return [
        {
            "label": f"{name}: NeCGS",
            "bytes_per_object": statistics.fmean(pair.necgs for pair in pairs),
            **shared,
        },
        {
            "label": f"{name}: mesh-surface",
            "bytes_per_object": statistics.fmean(pair.ours for pair in pairs),
            **shared,
        },
    ]


def note_of(name: str, pairs: list[Pair]) -> str:
    """Return the ratios, in words."""
    usual, worst = median_ratio(pairs, "necgs"), max(pair.ours / pair.necgs for pair in pairs)
    return (
        f"{name}: mesh-surface takes {usual:.3f} of NeCGS in the median of {len(pairs)} "
        f"meshes, {worst:.3f} at most; of the latents of NeCGS alone, its network not counted at all, "
        f"{median_ratio(pairs, 'latents'):.2f} in the median."
    )


def median_ratio(pairs: list[Pair], rival: str) -> float:
    """Return the median of our bytes to those of NeCGS, its network counted or not."""
    return statistics.median(pair.ours / float(getattr(pair, rival)) for pair in pairs)


if __name__ == "__main__":
    sys.exit(main())
