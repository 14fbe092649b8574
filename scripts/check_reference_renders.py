"""How closely trained voxel fields of other programs are rendered as those programs render them.

    python scripts/check_reference_renders.py --data FOLDER

FOLDER holds `fixtures/` with a checkpoint of each program and pictures that its own classes made of it
(`reference_render_*.npz`), and `chair_100/`, whose test views they are. The result goes to
`docs/results/voxel_reference_renders.json`. Exits with 1 when a field that is read with all that its program
has is not rendered as closely as 60 dB, and with 2 when a file is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from measurement.results import RESULTS, Table, write_results
from scene_codec.radiance.field import render_view
from scene_codec.radiance.posed_images import load_posed_images
from scene_codec.voxel_fields.field_files import load_voxel_field
from scene_codec.voxel_fields.grid_model import GridModel
from scene_codec.voxel_fields.voxel_field import VoxelField

WANTED_DB = 60.0
VIEWS = "chair_100"
NOTES = (
    "Fields of the chair of Synthetic-NeRF, small and trained for minutes, saved and rendered by the classes "
    "of each program; 100 x 100 pixels, the first test views. PSNR is between that render, clipped to 0..1, "
    "and ours of the file as it is read here, the lowest of the views.",
    "Rays begin where each program begins them for this scene: the first sample of a ray that would enter the"
    " box before lies there.",
    "VQRF's pictures were made with the occupancy mask of the DirectVoxGO grid that was compressed, which "
    "VQRF's files do not hold. With that mask the field is rendered as there. From the files alone a mask is "
    "found again from the densities, and what the old mask hid is seen.",
)


@dataclass(frozen=True)
class Case:
    """A checkpoint and its reference.

    near : where rays begin, of the program's settings for the scene, where its files do not hold it
    mask_of : checkpoint whose mask is used in place of the field's own
    alone : whether the reference had more than the file holds, so that no closeness is asked for
    """

    label: str
    checkpoint: str
    reference: str
    near: float | None = None
    mask_of: str = ""
    alone: bool = False


_NEAR = 2.0
_DVGO, _TENSORF = "dvgo_chair100", "tensorf_chair100"
_VQRF = ("vqrf_chair100/extreme_saving", "vqrf_chair100/reference_render_test0-7.npz")
CASES = (
    Case("DirectVoxGO", f"{_DVGO}/fine_last.tar", f"{_DVGO}/reference_render_test0-2.npz", _NEAR),
    Case("Plenoxels (svox2)", "svox2_chair100/ckpt.npz", "svox2_chair100/reference_render_test0-5.npz"),
    Case("TensoRF-VM", f"{_TENSORF}/tensorf_VM.th", f"{_TENSORF}/reference_render_VM_test0-5.npz"),
    Case("TensoRF-CP", f"{_TENSORF}/tensorf_CP.th", f"{_TENSORF}/reference_render_CP_test0-5.npz"),
    Case("VQRF, with the mask of its DirectVoxGO grid", *_VQRF, _NEAR, mask_of=f"{_DVGO}/fine_last.tar"),
    Case("VQRF, the files alone", *_VQRF, _NEAR, alone=True),
)


def main() -> int:
    """Render all fields and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    missing = missing_files(options.data)
    if missing:
        print("missing: " + ", ".join(missing), file=sys.stderr)
        return 2
    rows, details = [], {}
    for case in CASES:
        row, each = measured(case, options.data)
        rows.append(row)
        details[case.label] = each
        print(f"{case.label:45} {row['psnr']:7.2f} dB", flush=True)
    table = Table("voxel-reference-renders", rows, NOTES)
    write_results(
        options.out or RESULTS / "voxel_reference_renders.json", table, {"views": details}, (options.data,)
    )
    far = [row["label"] for row, case in zip(rows, CASES, strict=True) if is_too_far(row, case)]
    print(f"below {WANTED_DB} dB: {', '.join(far)}" if far else "all as close as wanted")
    return 1 if far else 0


def missing_files(data: Path) -> list[str]:
    """Return what is needed and not there."""
    needed = {VIEWS: data / VIEWS}
    for case in CASES:
        for name in (case.checkpoint, case.reference, case.mask_of):
            if name:
                needed[name] = data / "fixtures" / name
    return [name for name, path in needed.items() if not path.exists()]


def measured(case: Case, data: Path) -> tuple[dict[str, Any], list[float]]:
    """Return the row of a case, and the PSNR of each view."""
    fixtures = data / "fixtures"
    checkpoint = load_voxel_field(fixtures / case.checkpoint)
    model = checkpoint.model
    if case.mask_of:
        other = load_voxel_field(fixtures / case.mask_of).model
        assert isinstance(model, GridModel)
        assert isinstance(other, GridModel)
        model = dataclasses.replace(model, mask=other.mask)
    domain = checkpoint.domain
    if case.near is not None:
        domain = dataclasses.replace(domain, near=case.near)
    field = VoxelField(model, domain)
    with np.load(fixtures / case.reference) as stored:
        reference = stored["rgb"].clip(0.0, 1.0).astype(np.float64)
    images = load_posed_images(data / VIEWS, "test").images[: len(reference)]
    values = []
    for image, wanted in zip(images, reference, strict=True):
        error = float(np.mean((render_view(field, image.camera).colour - wanted) ** 2))
        values.append(-10.0 * float(np.log10(max(error, 1e-30))))
    return {
        "label": case.label,
        "psnr": min(values),
        "source_bytes": checkpoint.source_bytes,
        "frames": len(values),
    }, values


def is_too_far(row: dict[str, Any], case: Case) -> bool:
    """Tell whether a field that is read completely is rendered otherwise."""
    return not case.alone and row["psnr"] < WANTED_DB


if __name__ == "__main__":
    sys.exit(main())
