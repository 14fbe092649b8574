"""What is known of a scene before its network is made small: space, cameras, pictures, occupied cells."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from scene_codec.codecs.nerf_pruned.config import NerfPrunedSettings
from scene_codec.errors import InvalidRequestError
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.progress import Progress
from scene_codec.radiance.capture_domain import domain_of_pictures
from scene_codec.radiance.checkpoints import NerfPair
from scene_codec.radiance.fast_rendering import MarchingPlan, render_fast
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.occupancy import Corner, OccupancyGrid
from scene_codec.radiance.posed_images import PosedImageSet, load_posed_images
from scene_codec.radiance.ray_supply import CameraSet, PictureRays, made_cameras
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.radiance.visibility import VisibilityPlan, find_visible_cells

_OBJECT_HALF_SIDE = 1.5
_FORWARD_HALF_SIDE = 1.6
_USUAL_LENS = (1.617, 2.156)
"""Of the published forward-facing scenes, when there are no pictures that tell."""

_ALIGNING_RAYS = 8192
_CORNER_FACTORS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Widths of the training's pictures that are tried, as multiples of the width at hand."""


@dataclass(frozen=True, eq=False)
class SceneSetup:
    """A scene that is ready to be learned.

    pictures : None when there are none
    cameras : that the scene is seen from: the pictures', or made ones
    grid : cells in which they see anything
    """

    domain: SceneDomain
    pictures: PictureRays | None
    cameras: CameraSet
    grid: OccupancyGrid


def open_pictures(settings: NerfPrunedSettings) -> PosedImageSet | None:
    """Return the pictures that the settings name. Raises `InvalidRequestError`."""
    if not settings.images:
        return None
    images = load_posed_images(Path(settings.images), "train")
    return images.in_world_space() if settings.scene == "object" else images


def scene_domain(pair: NerfPair, images: PosedImageSet | None, settings: NerfPrunedSettings) -> SceneDomain:
    """Return the space of a scene: what settings, checkpoint or pictures say, or the usual one.

    Raises `InvalidRequestError` when they contradict each other.
    """
    domain = _known_domain(pair, images, settings)
    if settings.near is not None or settings.far is not None:
        near = domain.near if settings.near is None else settings.near
        far = domain.far if settings.far is None else settings.far
        if near >= far:
            raise InvalidRequestError(f"Rays cannot begin at {near:g} and end at {far:g}: set near and far.")
        domain = dataclasses.replace(domain, near=near, far=far)
    if settings.background != "auto":
        domain = dataclasses.replace(domain, white_background=settings.background == "white")
    if settings.corner_width is not None:
        domain = dataclasses.replace(domain, corner_width=settings.corner_width)
    return domain


def _known_domain(pair: NerfPair, images: PosedImageSet | None, settings: NerfPrunedSettings) -> SceneDomain:
    """Return the space as the checkpoint or the pictures say, or the usual one of a kind of scene."""
    forward = settings.scene == "forward-facing"
    known = pair.domain
    if known is None and images is not None:
        known = _domain_of(images)
    if known is None:
        known = _usual_domain(forward)
    if settings.scene != "auto" and forward != (known.ndc is not None):
        if images is not None and forward and images.ndc is None:
            raise InvalidRequestError(
                "The pictures are not of a forward-facing scene: their cameras have no common near plane and "
                "no normalised poses. Use scene object, or auto."
            )
        known = _usual_domain(forward) if images is None else _domain_of(images)
    return known


def _domain_of(images: PosedImageSet) -> SceneDomain:
    """Return the space that pictures show."""
    domain = domain_of_pictures(images)
    if images.layout != "blender":
        return domain
    # Of these everybody knows how large they are.
    low, high = _box(_OBJECT_HALF_SIDE, _OBJECT_HALF_SIDE)
    return dataclasses.replace(domain, low=low, high=high)


def _usual_domain(forward: bool) -> SceneDomain:
    """Return the space of the published scenes: an object, or a forward-facing scene."""
    if forward:
        low, high = _box(_FORWARD_HALF_SIDE, 1.0)
        return SceneDomain(near=0.0, far=1.0, ndc=_USUAL_LENS, low=low, high=high)
    low, high = _box(_OBJECT_HALF_SIDE, _OBJECT_HALF_SIDE)
    return SceneDomain(near=2.0, far=6.0, white_background=True, low=low, high=high)


def _box(half_side: float, half_depth: float) -> tuple[Corner, Corner]:
    """Return the corners of a box around the origin."""
    return (-half_side, -half_side, -half_depth), (half_side, half_side, half_depth)


def set_up_scene(
    teacher: RadianceMlp, pair: NerfPair, settings: NerfPrunedSettings, progress: Progress
) -> SceneSetup:
    """Return everything that is needed to make a network small.

    teacher : the network that is seen, on the device

    Raises `UnsupportedSceneError` when nothing can be seen, `InvalidRequestError`, `Cancelled`.
    """
    images = open_pictures(settings)
    domain = scene_domain(pair, images, settings)
    shown = made_cameras(domain) if images is None else [image.camera for image in images.images]
    plan = VisibilityPlan(cells=settings.cells)
    generator = torch.Generator().manual_seed(settings.seed)
    part = progress.part(0.0, 0.7, "looking for the scene")
    cameras = CameraSet(shown, domain.corner_width)
    grid = find_visible_cells(teacher, domain, cameras.draw, plan, generator, part)
    domain = dataclasses.replace(domain, low=grid.low, high=grid.high)
    pictures = None
    if images is not None:
        pictures = PictureRays(images, domain, progress.part(0.7, 0.9, "reading pictures"))
        if settings.corner_width is None and pair.domain is None:
            width = _best_corner_width(teacher, grid, domain, pictures, progress.part(0.9, 1.0, "aligning"))
            domain = dataclasses.replace(domain, corner_width=width)
            cameras = CameraSet(shown, width)
            pictures.cameras = cameras
    return SceneSetup(domain, pictures, cameras, grid)


def _best_corner_width(
    teacher: RadianceMlp,
    grid: OccupancyGrid,
    domain: SceneDomain,
    pictures: PictureRays,
    progress: Progress,
) -> int:
    """Return the width of the training's pictures at which the network fits these best."""
    device = teacher.density.weight.device
    plan = MarchingPlan()
    errors = {}
    for index, factor in enumerate(_CORNER_FACTORS):
        progress.update(index / len(_CORNER_FACTORS))
        width = round(factor * pictures.cameras.cameras[0].width)
        pixel = torch.randint(
            pictures.cameras.pixels, (_ALIGNING_RAYS,), generator=torch.Generator().manual_seed(0)
        )
        rays = CameraSet(pictures.cameras.cameras, width).rays(pixel).to(device)
        with torch.inference_mode():
            seen = render_fast(teacher, grid, to_field_space(rays, domain), domain, plan)
        wanted = pictures.at(pixel)[1].to(device)
        errors[width] = float((seen.over(domain.white_background) - wanted).square().mean())
    return min(errors, key=lambda width: errors[width])
