"""Small surfaces of many shapes, and walks over them, for the tests of mesh-surface."""

import numpy as np
from scipy.sparse import identity

from scene_codec.codecs.mesh_surface.prior import NEWEST_PRIOR, shipped_prior, surface_models
from scene_codec.codecs.mesh_surface.surface_coding import FittedSurface, Form, code_fitted, levels_of
from scene_codec.codecs.mesh_surface.surface_walk import SurfaceSteps, SurfaceWalk
from scene_codec.codecs.mesh_surface.syntax import CodedSurface, write_surface
from scene_codec.entropy.adaptive_bits import BitDecoder, BitEncoder
from scene_codec.entropy.quantisers import QuantisationStep
from scene_codec.geometry.loop_subdivision import SurfaceFeatures, subdivided
from scene_codec.geometry.manifold_surface import is_closed, manifold, welded
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.normalisation import Frame
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.surface_fitting import PointPairs, SurfaceError
from scene_codec.progress import Progress


def torus(columns=9, rows=7, height=0.0):
    """A ring, closed."""
    around, along = (index.ravel() for index in np.indices((columns, rows)))
    first, second = 2.0 * np.pi * around / columns, 2.0 * np.pi * along / rows
    width = 0.6 + 0.25 * np.cos(second)
    vertices = np.stack(
        [width * np.cos(first), width * np.sin(first), 0.25 * np.sin(second) + height], axis=1
    )
    beside, above = (around + 1) % columns * rows, (along + 1) % rows
    a, b, c, d = around * rows + along, beside + along, beside + above, around * rows + above
    return TriangleMesh(vertices, np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]))


def ball(columns=8, rows=6, height=0.0):
    """A torus whose inner rim is drawn together into two poles: closed, of one part."""
    polar, turn = (index.ravel() for index in np.indices((rows - 1, columns)))
    angle, around = np.pi * (polar + 1) / rows, 2.0 * np.pi * turn / columns
    ring = np.stack([np.sin(angle) * np.cos(around), np.sin(angle) * np.sin(around), np.cos(angle)], axis=1)
    vertices = 0.8 * np.concatenate([ring, [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]]) + [0.0, 0.0, height]
    index = np.arange((rows - 1) * columns).reshape(rows - 1, columns)
    a, b, c, d = (
        rolled.ravel() for part in (index[:-1], index[1:]) for rolled in (part, np.roll(part, -1, 1))
    )
    top, bottom = np.full(columns, len(vertices) - 2), np.full(columns, len(vertices) - 1)
    faces = [
        np.stack([a, c, b], axis=1),
        np.stack([b, c, d], axis=1),
        np.stack([top, index[0], np.roll(index[0], -1)], axis=1),
        np.stack([bottom, np.roll(index[-1], -1), index[-1]], axis=1),
    ]
    return TriangleMesh(vertices, np.concatenate(faces))


def sheet(side=6, bend=0.3):
    """An open, bent square."""
    along, across = np.meshgrid(*[np.linspace(-0.9, 0.9, side + 1)] * 2, indexing="ij")
    vertices = np.stack([along, across, bend * along**2 - 0.2 * across], axis=-1).reshape(-1, 3)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).reshape(-1, 1)
    halves = [[0, side + 1, side + 2], [0, side + 2, 1]]
    return TriangleMesh(vertices, np.concatenate([corner + half for half in halves]))


def soup(faces=20, corners=10, seed=0):
    """Triangles between few vertices, in any direction."""
    generator = np.random.default_rng(seed)
    picked = [generator.choice(corners, 3, replace=False) for _ in range(faces)]
    return TriangleMesh(generator.uniform(-0.9, 0.9, (corners, 3)), np.array(picked))


def glued(triangles, border, seed):
    """A surface glued at random from triangles, halved at their middles: many handles, few vertices.

    border : share of the sides that stay open
    """
    generator = np.random.default_rng(seed)
    sides = 3 * triangles
    chosen = generator.permutation(sides)[: int(sides * (1.0 - border)) // 2 * 2].reshape(-1, 2).tolist()
    joined_to = list(range(sides))

    def place(corner):
        while joined_to[corner] != corner:
            corner = joined_to[corner]
        return corner

    def following(side):
        return side - side % 3 + (side + 1) % 3

    mates = {}
    for one, other in chosen:
        mates[one], mates[other] = other, one
        joined_to[place(one)] = place(following(other))
        joined_to[place(following(one))] = place(other)
    numbers, faces = {}, []

    def number(kind, which):
        return numbers.setdefault((kind, which), len(numbers))

    for side in range(sides):
        centre = number("centre", side // 3)
        half = number("middle", min(side, mates.get(side, side)))
        faces.append((number("corner", place(side)), half, centre))
        faces.append((half, number("corner", place(following(side))), centre))
    return TriangleMesh(generator.uniform(-0.9, 0.9, (len(numbers), 3)), np.array(faces))


def joined(*meshes):
    """Return several meshes as one."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return TriangleMesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]),
    )


def holed(mesh, share, seed=0):
    """Return a mesh without some of its faces, the others in any order."""
    generator = np.random.default_rng(seed)
    kept = generator.permutation(len(mesh.faces))[: max(1, round((1.0 - share) * len(mesh.faces)))]
    return TriangleMesh(mesh.vertices, mesh.faces[kept])


def sound(mesh):
    """Return a mesh as the encoder walks over it."""
    return manifold(welded(mesh))


def steps_for(mesh, out=2.0**-12, in_plane=2.0):
    """Return steps for a mesh."""
    return SurfaceSteps(out, in_plane, is_closed(mesh.faces))


def fitted(mesh, form=Form.FLAT, features=None):
    """Return a surface as if it had been fitted; every direction counts alike when vertices are rounded."""
    levels = levels_of(form, len(mesh.faces))
    surface = subdivided(mesh.faces, len(mesh.vertices), levels, features)
    count = len(mesh.vertices)
    no_points = PointPairs(np.zeros((0, 3), np.int64), *np.zeros((2, 0, 3)), np.zeros(0))
    error = SurfaceError(0.0, no_points, identity(count, format="csr"), np.ones(count), np.zeros((count, 3)))
    return FittedSurface(mesh, surface, error, form, levels, features)


def marked(mesh):
    """Return features at every third edge and every fifth vertex."""
    edges = MeshEdges.of(mesh.faces)
    return SurfaceFeatures(np.arange(len(edges)) % 3 == 0, np.arange(len(mesh.vertices)) % 5 == 0)


def encoded(mesh, steps, bit_price=0.0, form=Form.FLAT):
    """Return what is decoded and its stream."""
    encoder = BitEncoder(shipped_prior(NEWEST_PRIOR))
    features = marked(mesh) if form is Form.CREASED else None
    known = fitted(mesh, form, features)
    return code_fitted(known, steps, bit_price, encoder, Progress()), encoder.finish()


def decoded(stream, faces, steps):
    """Return the mesh of a stream."""
    decoder = BitDecoder(stream, shipped_prior(NEWEST_PRIOR))
    vertices, found = SurfaceWalk(decoder, surface_models(), steps).run(faces, lambda: None)
    decoder.finish()
    return TriangleMesh(vertices, found)


def section_of(mesh, out=2.0**-7, form=Form.FLAT):
    """Return the payload of a mesh in its frame."""
    step = QuantisationStep.nearest(out)
    steps = steps_for(mesh, step.value)
    surface = CodedSurface(
        place=Frame(1.0, (0, 0, 0)),
        prior=NEWEST_PRIOR,
        closed=steps.closed,
        in_plane=2,
        step=step,
        error=QuantisationStep.nearest(0.01),
        faces=len(mesh.faces),
        levels=levels_of(form, len(mesh.faces)),
        creased=form is Form.CREASED,
        stream=encoded(mesh, steps, form=form)[1],
    )
    return write_surface(surface)[0].payload
