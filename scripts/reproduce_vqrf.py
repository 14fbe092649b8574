"""The tables of compressed voxel fields: VQRF as published stage by stage, and ours at five rates.

    scene-codec train-field chair_400 -o fields/chair.tar --nodes 128 --steps 6000
    scene-codec train-field lego_200 -o fields/lego.tar --nodes 128 --steps 6000
    python scripts/reproduce_vqrf.py --data FOLDER --fields fields
    python scripts/reproduce_vqrf.py --data FOLDER --fields fields --only ours --scenes chair

FOLDER holds the pictures (chair_400, lego_200); `fields` a trained field for each scene, SCENE.tar. Every
measurement is kept in `output/vqrf/` and not made again by a later call; results go to
`docs/results/vqrf_*.json`. The part `families` takes small fields of Plenoxels and TensoRF, in `fixtures/` of
FOLDER.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import torch

from measurement import vqrf_runs
from measurement.kept_rows import Rows, commits_note, kept_rows
from measurement.provenance import CHECKOUT
from measurement.results import RESULTS, Table, write_results
from measurement.vqrf_runs import VoxelScene
from scene_codec.codecs.radiance_vqrf.config import RadianceVqrfSettings, settings_for

KEPT = CHECKOUT / "output" / "vqrf"
PARTS = ("stages", "ablations", "ours", "families")
SCENES = {"chair": "chair_400", "lego": "lego_200"}
FAMILIES = {
    "Plenoxels": Path("svox2_chair100", "ckpt.npz"),
    "TensoRF VM": Path("tensorf_chair100", "tensorf_VM.th"),
}
FAMILY_PICTURES, FAMILY_STEPS, FAMILY_RAYS = "chair_100", 200, 1024
STEPS = {"chair": 500, "lego": 1000}
"""Of fine-tuning, both methods alike: what processors do in an hour; published 9999."""

AS_IT_IS = "as it is"
FAMILY_ERRORS = (6e-7, 2e-6)
ERRORS_PER_KILOBYTE = (7e-8, 2e-7, 6e-7, 2e-6, 6e-6)
"""Rates of ours."""


def main() -> int:
    """Measure what is asked for and write the results."""
    options = parse()
    torch.set_num_threads(options.threads)
    for part in options.only:
        scenes = scenes_of(part, options)
        missing = [path for own in scenes for path in (own.field, own.pictures) if not path.exists()]
        if missing:
            print(f"There is no '{missing[0]}'; {part} is not measured.", file=sys.stderr)
            return 2
        rows = [row for own in scenes for row in measured(part, own, options)]
        if rows:
            name = f"vqrf-{part}" if part in ("ablations", "families") else "vqrf-fields"
            told = family_notes() if part == "families" else notes(scenes, options)
            table = Table(name, rows, [*told, commits_note(rows)])
            write_results(RESULTS / f"vqrf_{part}.json", table, {}, (options.data,))
    return 0


def scenes_of(part: str, options: argparse.Namespace) -> list[VoxelScene]:
    """Return what a part is measured on."""
    if part == "families":
        pictures, folder = options.data / FAMILY_PICTURES, options.data / "fixtures"
        return [VoxelScene(name, folder / path, pictures, None) for name, path in FAMILIES.items()]
    return [
        VoxelScene(name, options.fields / f"{name}.tar", options.data / SCENES[name], options.size)
        for name in options.scenes
    ]


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=CHECKOUT.parent / "data" / "radiance")
    parser.add_argument("--fields", type=Path, default=CHECKOUT / "output" / "fields")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--size", type=int, help="width of all pictures; as they are by default")
    parser.add_argument("--steps", type=int, help="of fine-tuning, published 9999; by default fewer")
    parser.add_argument("--kept", action="store_true", help="measure nothing, tell what earlier calls did")
    parser.add_argument("--rays", type=int, default=4096, help="of each step, published 8192")
    parser.add_argument("--codebook-steps", type=int, default=200, help="published 1000")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def measured(part: str, scene: VoxelScene, options: argparse.Namespace) -> Rows:
    """Return the rows of one part for one scene, those that an earlier call kept included."""
    digest = hashlib.blake2b(scene.field.read_bytes(), digest_size=8).hexdigest()
    rows: Rows = []
    for key, settings in points(part, scene.name, options).items():
        recipe = f"{scene.name} {digest} {scene.size} {msgspec.json.encode(settings).decode()}"
        run = vqrf_runs.stage_rows if part == "stages" else vqrf_runs.coded_row
        if key == AS_IT_IS:
            run = vqrf_runs.plain_row
        work = no_rows if options.kept else partial(run, scene, key, settings)
        rows += kept_rows(KEPT, f"{scene.name} {part} {key}", recipe, work)
    return rows


def no_rows() -> Rows:
    """Measure nothing."""
    return []


def steps_of(scene: str, options: argparse.Namespace) -> int:
    """Return the steps of fine-tuning."""
    return STEPS[scene] if options.steps is None else int(options.steps)


def points(part: str, scene: str, options: argparse.Namespace) -> dict[str, RadianceVqrfSettings]:
    """Return what there is to measure, each under a name."""
    changed = msgspec.structs.replace
    if part == "families":
        few = {"steps": FAMILY_STEPS, "rays": FAMILY_RAYS}
        ours = {
            f"ours, {error:g} a kilobyte": changed(settings_for(None), error_per_kilobyte=error, **few)
            for error in FAMILY_ERRORS
        }
        published = changed(settings_for("paper"), codebook_steps=options.codebook_steps, **few)
        return {AS_IT_IS: settings_for(None), "vqrf": published, **ours}
    steps = steps_of(scene, options)
    published = changed(
        settings_for("paper"),
        steps=steps,
        rays=options.rays,
        codebook_steps=options.codebook_steps,
    )
    if part == "stages":
        return {"published": published}
    if part == "ablations":
        return {
            "vqrf": published,
            "vqrf, codes not weighted": changed(published, weighted=False),
            "vqrf, no code expires": changed(published, expired_codes=0),
            "vqrf, no node kept": changed(published, keep=0.0),
            "vqrf, without fine-tuning": changed(published, steps=0),
        }
    plain = changed(settings_for(None), steps=steps, rays=options.rays)
    rates = {
        f"ours, {error:g} a kilobyte": changed(plain, error_per_kilobyte=error)
        for error in ERRORS_PER_KILOBYTE
    }
    return rates | {"ours, without fine-tuning": changed(plain, steps=0, error_per_kilobyte=3e-8)}


def family_notes() -> list[str]:
    """Return what readers of the table of families should know."""
    return [
        f"Small fields of {FAMILY_PICTURES}, {vqrf_runs.VIEWS} test views each, {FAMILY_STEPS} steps of "
        f"{FAMILY_RAYS:,} rays for both methods, on a processor: they learn little more than to make up for "
        "what coding costs. TensoRF CP has no planes to code by vectors: the published method is refused.",
    ]


def notes(scenes: Sequence[VoxelScene], options: argparse.Namespace) -> list[str]:
    """Return what readers of a table should know."""
    views, rays = vqrf_runs.VIEWS, options.rays
    steps = ", ".join(f"{scene} {steps_of(scene, options):,}" for scene in options.scenes)
    sizes = ", ".join(f"{scene.name} {' x '.join(map(str, scene.lattice()))}" for scene in scenes)
    width = f"{options.size} pixels wide" if options.size else "in the size in which the field was trained"
    return [
        f"{views} test views of each scene are compared, {width}.",
        f"Both methods are fine-tuned in steps of {rays:,} rays ({steps}; published: 9,999 of 8,192), and "
        f"codebooks are learned in {options.codebook_steps} steps (published: 1,000), on a processor.",
        f"Fields of `train-field`: {sizes} nodes. Both methods go on learning from the training pictures, so "
        "that both may show more than the field did.",
        "Sizes are those of whole files; the stages before the last are counted part by part.",
    ]


if __name__ == "__main__":
    sys.exit(main())
