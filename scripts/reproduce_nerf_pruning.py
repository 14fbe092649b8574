"""The tables and pictures of pruned radiance networks: the paper's protocol, ours, and others.

    python scripts/reproduce_nerf_pruning.py --data FOLDER
    python scripts/reproduce_nerf_pruning.py --data FOLDER --only ours --scenes chair
    python scripts/reproduce_nerf_pruning.py --checkpoint model_200000.npy --pictures nerf_synthetic/lego
    python scripts/reproduce_nerf_pruning.py --only large --checkpoint chair.tar --pictures chair_400

FOLDER holds `nerf_checkpoints/` and the pictures (see `measurement.nerf_scenes`). Every measurement is kept
in `output/nerf_pruning/` and not made again by a later call; results go to `docs/results/nerf_*.json`. With
--checkpoint and --pictures the same is measured on networks of your own, such as those of the
original code, and written to `output/nerf_pruning/own.json`. The part large is about one network of
`scene-codec train-nerf CHAIR -o chair.tar --preset large`, and goes to `docs/results/nerf_large.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import torch

from measurement import nerf_pictures, nerf_runs
from measurement.kept_rows import Rows, commits_note, kept_rows
from measurement.nerf_runs import WITHOUT
from measurement.nerf_scenes import SCENES, Scene
from measurement.nncodec_rival import nncodec_rows
from measurement.provenance import CHECKOUT
from measurement.results import RESULTS, Table, write_results
from scene_codec.codecs.nerf_pruned.config import NerfPrunedSettings, settings_for
from scene_codec.radiance.posed_images import load_posed_images

KEPT = CHECKOUT / "output" / "nerf_pruning"
RATIOS = (0.3, 0.5, 0.7, 0.9)
LARGE = "large"
LARGE_RATIO, LEFT_RATIO = 0.9, 0.65
"""Of all weights, and of those that half of the neurons leave, which are 28 %."""

PARTS = ("paper", "ours", "curve", "variants", "rivals", "nncodec", "speed", "pictures")
ERRORS_PER_KILOBYTE = (5e-6, 1e-4, 4e-4)
"""Points of the rate curve, without a share that must be pruned."""

LEVELS = (8, 7)
"""Bits of plain rounding."""

NNCODEC_QPS = (-28, -24, -20)
"""Quantisation parameters of NNCodec."""

SCORES: tuple[Literal["magnitude", "gradient"], ...] = ("magnitude", "gradient")

Points = dict[str, NerfPrunedSettings]
Work = Callable[[], Rows]


def main() -> int:
    """Measure what is asked for and write the results."""
    options = parse()
    torch.set_num_threads(options.threads)
    scenes = (
        own_scene(options) if options.checkpoint else [own for own in SCENES if own.name in options.scenes]
    )
    data = options.data
    missing = [own.checkpoint for own in scenes if not (data / own.checkpoint).exists()]
    if missing:
        print(f"There is no '{missing[0]}' in '{data}'; nothing is measured.", file=sys.stderr)
        return 2
    measured = {
        part: [row for own in scenes for row in measure(part, own, data, options)] for part in options.only
    }
    if options.checkpoint and options.only != [LARGE]:
        (KEPT / "own.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
        print(KEPT / "own.json")
        return 0
    for part, rows in measured.items():
        if rows and part != "pictures":
            name = "nerf-rivals" if part == "nncodec" else f"nerf-{part}"
            table = Table(name, rows, [*notes(part, options), commits_note(rows)])
            private = (data, *(path for path in (options.checkpoint, options.pictures) if path))
            write_results(RESULTS / f"nerf_{part}.json", table, {}, private)
    if "pictures" in options.only:
        nerf_pictures.draw_sheet(KEPT, CHECKOUT / "docs" / "pictures" / "nerf_pruning.png")
    return 0


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=CHECKOUT.parent / "data" / "radiance")
    parser.add_argument("--scenes", nargs="+", default=[own.name for own in SCENES])
    parser.add_argument("--only", nargs="+", choices=(*PARTS, LARGE), default=list(PARTS))
    parser.add_argument("--steps", type=int, default=800, help="of our retraining")
    parser.add_argument(
        "--both-policies", nargs="*", default=["chair"], help="scenes with both learning rates"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--nncodec", type=Path, help="a Python that has the package nncodec; without it that part is left out"
    )
    parser.add_argument("--checkpoint", type=Path, help="networks of your own")
    parser.add_argument("--pictures", type=Path, help="their data set")
    parser.add_argument("--name", default="own", help="what rows call them")
    parser.add_argument("--size", type=int, help="width at which their test views are compared")
    parser.add_argument(
        "--corner-width", type=int, default=0, help="width of the pictures they were trained with"
    )
    return parser.parse_args()


def own_scene(options: argparse.Namespace) -> list[Scene]:
    """Return the user's networks as a scene."""
    camera = load_posed_images(options.pictures, "test").images[0].camera
    size = (camera.width, camera.height)
    if options.size:
        size = (options.size, round(options.size * camera.height / camera.width))
    checkpoint, pictures = (str(path.absolute()) for path in (options.checkpoint, options.pictures))
    return [Scene(options.name, checkpoint, pictures, options.corner_width, size, pictures)]


def measure(part: str, scene: Scene, data: Path, options: argparse.Namespace) -> Rows:
    """Return the rows of one part for one scene, those that an earlier call kept included."""
    rows: Rows = []
    for key, work in jobs(part, scene, data, options).items():
        name = f"{scene.name} {part} {key}"
        rows += kept_rows(KEPT, name, recipe_of(scene, data, work), work)
    return rows


def recipe_of(scene: Scene, data: Path, work: Work) -> str:
    """Return everything that a measurement depends on besides the code: scene, networks, settings."""
    digest = hashlib.blake2b((data / scene.checkpoint).read_bytes(), digest_size=8).hexdigest()
    arguments = work.args if isinstance(work, partial) else ()
    plain = [
        msgspec.to_builtins(own) if isinstance(own, msgspec.Struct) else own
        for own in arguments
        if isinstance(own, msgspec.Struct | str | int | float | tuple)
    ]
    return json.dumps([dataclasses.asdict(scene), digest, plain])


def jobs(part: str, scene: Scene, data: Path, options: argparse.Namespace) -> dict[str, Work]:
    """Return what there is to measure, each under a name."""
    if part == "paper":
        runs = {f"{share} stage": (share, "stage") for share in RATIOS}
        if scene.name in options.both_policies:
            runs["0.5 restart"] = (0.5, "restart")
        found = {name: partial(published, scene, data, *run) for name, run in runs.items()}
        return {"unpruned": partial(unpruned, scene, data), **found}
    if part == LARGE:
        label = f"ours, {LARGE_RATIO:.0%}"
        changed = {"error_per_kilobyte": 5e-6, "score": "gradient", "learning_rate": 5e-4}
        own = msgspec.structs.replace(at_ratio(LARGE_RATIO, options.steps), **changed)
        narrow = {"neurons": 0.5, "prune": LEFT_RATIO, "learning_rate": 1e-3, "steps": 3 * options.steps // 2}
        half = "ours, half of the neurons"
        return {
            "alone": partial(alone, scene, data),
            label: partial(coded, scene, data, label, own),
            half: partial(coded, scene, data, half, msgspec.structs.replace(own, **narrow)),
        }
    if part in POINTS:
        points = POINTS[part](options.steps)
        return {label: partial(coded, scene, data, label, own) for label, own in points.items()}
    if part == "nncodec":
        return {part: partial(nncodec, scene, data, options.nncodec, NNCODEC_QPS)} if options.nncodec else {}
    work: dict[str, Work] = {
        "rivals": partial(rivals, scene, data, LEVELS),
        "speed": partial(speed, scene, data),
        "pictures": partial(nerf_pictures.keep_shapes, scene, data, KEPT, RATIOS),
    }
    return {part: work[part]}


def unpruned(scene: Scene, data: Path) -> Rows:
    """Return the row of the networks as they are."""
    return [nerf_runs.unpruned(scene, data)]


def alone(scene: Scene, data: Path) -> Rows:
    """Return the row of one network as it is."""
    return [nerf_runs.alone(scene, data, settings_for(None))]


def published(scene: Scene, data: Path, share: float, policy: str) -> Rows:
    """Return the rows of the paper's protocol at one ratio."""
    return nerf_runs.published(scene, data, share, policy, 500, scene.published_rays)


def at_ratio(share: float, steps: int) -> NerfPrunedSettings:
    """Return our settings for a share of pruned weights, with little weight of the rate beside it."""
    return msgspec.structs.replace(settings_for(None), prune=share, error_per_kilobyte=2e-5, steps=steps)


def at_error(error: float, steps: int) -> NerfPrunedSettings:
    """Return our settings for a point of the rate curve."""
    return msgspec.structs.replace(settings_for(None), prune=0.0, error_per_kilobyte=error, steps=steps)


def at_ratios(steps: int) -> Points:
    """Return our settings at the paper's ratios."""
    return {f"ours, {share:.0%}": at_ratio(share, steps) for share in RATIOS}


def along_the_curve(steps: int) -> Points:
    """Return the points of the rate curve."""
    return {f"ours, {error:g} a kilobyte": at_error(error, steps) for error in ERRORS_PER_KILOBYTE}


def variants(steps: int) -> Points:
    """Return other scores at 70 %, fewer neurons, and learning from the large network alone."""
    ratio, plain = at_ratio(0.7, steps), at_ratio(0.0, steps)
    changed = msgspec.structs.replace
    points = {f"70%, score {name}": changed(ratio, score=name) for name in SCORES}
    points |= {f"{share:.0%} of the neurons": changed(plain, neurons=share) for share in (0.5,)}
    points["without pictures"] = changed(plain, images=WITHOUT)
    points["all neurons, with pictures"] = plain
    return points


POINTS = {"ours": at_ratios, "curve": along_the_curve, "variants": variants}


def coded(scene: Scene, data: Path, label: str, settings: NerfPrunedSettings) -> Rows:
    """Return the row of one run of our codec; its file is kept for pictures and speed."""
    settings = msgspec.structs.replace(settings, rays=scene.rays)
    row, field = nerf_runs.ours(scene, data, label, settings)
    nerf_pictures.keep_field(field, scene, label, KEPT)
    return [row]


def nncodec(scene: Scene, data: Path, python: Path, qualities: tuple[int, ...]) -> Rows:
    """Return the rows of NNCodec."""
    return nncodec_rows(scene, data, python, qualities, nerf_pictures.kept_field(scene, "ours, 50%", KEPT))


def rivals(scene: Scene, data: Path, levels: tuple[int, ...]) -> Rows:
    """Return the rows of plain rounding."""
    return nerf_runs.rivals(scene, data, levels, nerf_pictures.kept_field(scene, "ours, 50%", KEPT))


def speed(scene: Scene, data: Path) -> Rows:
    """Return the rows of one large view, of the networks and of our file pruned by half."""
    field = nerf_pictures.kept_field(scene, "ours, 50%", KEPT)
    return nerf_runs.speed(scene, data, field)


def notes(part: str, options: argparse.Namespace) -> list[str]:
    """Return what a reader must know of a table."""
    return [note.format(steps=options.steps) for note in nerf_pictures.NOTES[part]]


if __name__ == "__main__":
    sys.exit(main())
