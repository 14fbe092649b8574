"""Makes the statistics with which the codec mesh-surface begins: what other meshes of free licences taught.

    python scripts/train_surface_prior.py --data FOLDER --out prior.npz

Meshes are simplified to several sizes, fitted, and coded one after the other with steps as the codec chooses
them; what the adaptive contexts know at the end is the result. Files name the statistics that they were coded
with, so that new ones get a new number and old ones stay.

    sets/dog_anatomy    every ninth bone and muscle (dm_control, Apache-2.0)
    sets/makehuman      every twelfth body (CC0)
    sets/random_urdfs   every twenty-fifth object (Bullet, zlib)
    sets/tvmc_gears     two frames (MIT)

None of the meshes in dev/ is among them. One core, about ten minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from measurement.mesh_sets import set_files
from scene_codec.codecs.mesh_surface.config import MeshSurfaceSettings
from scene_codec.codecs.mesh_surface.prior import prior_bytes, surface_models
from scene_codec.codecs.mesh_surface.surface_coding import FittedSurface, Form, SurfaceCoder, code_fitted
from scene_codec.codecs.mesh_surface.surface_models import MIXER_INPUTS
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps
from scene_codec.entropy.adaptive_bits import BitCounter, BitPrior
from scene_codec.errors import SceneCodecError
from scene_codec.geometry.manifold_surface import is_closed
from scene_codec.geometry.mesh_checks import prepare_mesh
from scene_codec.geometry.mesh_files import load_scene_objects
from scene_codec.geometry.normalisation import Frame
from scene_codec.progress import Progress

EVERY = {"dog_anatomy": 9, "makehuman": 12, "random_urdfs": 25, "tvmc_gears": 13}

HELD_OUT = {"BONEC_3.stl", "BONEJaw.stl", "BONEPelvis.stl", "BONERibcage.stl", "MUSCdiaphragma.stl"}
"""Meshes of dog_anatomy that are in dev/, too."""

FACES = (100, 300, 900)
FIT_STEPS = 4
STEPS_TO_ERROR = (2.5, 4.0, 6.0)
BIT_PRICE, IN_PLANE = 0.05, 2.0
SMALLEST_ERROR = 3e-4
PASSES = 2

REMEMBERED = 12
"""Sightings that a slot brings along: so fast it still turns to what the mesh at hand is like."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """A fitted surface and the step it is coded with."""

    fitted: FittedSurface
    step: float


def main() -> int:
    """Learn and write the statistics; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    lessons = list(lessons_of(options.data, generator))
    models = surface_models()
    prior = BitPrior.ignorant(models.slots, models.mixers, MIXER_INPUTS)
    for round_number in range(PASSES):
        bits, vertices = 0.0, 0
        for place in generator.permutation(len(lessons)):
            prior, own_bits = learnt(lessons[place], prior)
            bits, vertices = bits + own_bits, vertices + len(lessons[place].fitted.control.vertices)
        print(f"pass {round_number + 1}: {len(lessons)} surfaces, {bits / vertices:.2f} bits a vertex")
    seen = np.minimum(prior.seen, REMEMBERED).astype(np.uint8)
    data = prior_bytes(BitPrior(prior.probabilities, seen, prior.weights))
    options.out.write_bytes(data)
    print(f"{options.out}: {len(data)} bytes")
    return 0


def lessons_of(data: Path, generator: np.random.Generator) -> Iterator[Lesson]:
    """Yield what is learned from, several sizes of each mesh."""
    for name, every in EVERY.items():
        for path in set_files(data, name)[::every]:
            if path.name in HELD_OUT:
                continue
            try:
                yield from lessons_of_file(path, generator)
            except SceneCodecError as problem:
                print(f"{path.name}: {problem}")


def lessons_of_file(path: Path, generator: np.random.Generator) -> Iterator[Lesson]:
    """Yield the lessons of one file: of each size the form that is nearest, and now and then another."""
    settings = MeshSurfaceSettings(fit=FIT_STEPS)
    for item in load_scene_objects(path):
        mesh = prepare_mesh(item.mesh, item.name)
        frame = Frame.around(mesh)
        coder = SurfaceCoder(frame.into(mesh), frame, settings, Progress())
        for faces in FACES:
            count = int(faces * generator.uniform(0.7, 1.4))
            if count > 0.7 * coder.most_faces:
                continue
            fitted = min((coder.fitted(count, form) for form in Form), key=lambda one: one.error.distance)
            for ratio in generator.choice(STEPS_TO_ERROR, 2, replace=False).tolist():
                yield Lesson(fitted, ratio * max(fitted.error.distance, SMALLEST_ERROR))


def learnt(lesson: Lesson, prior: BitPrior) -> tuple[BitPrior, float]:
    """Return the statistics after coding a lesson, and the bits it took."""
    steps = SurfaceSteps(lesson.step, IN_PLANE, is_closed(lesson.fitted.control.faces))
    counter = BitCounter(prior)
    code_fitted(lesson.fitted, steps, BIT_PRICE, counter, Progress())
    return counter.statistics.snapshot(), counter.bits


if __name__ == "__main__":
    sys.exit(main())
