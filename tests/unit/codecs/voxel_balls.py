"""Tiny voxel fields of a coloured ball, made by the tests themselves, and pictures of them."""

import json
import math

import numpy as np
import torch
from PIL import Image

from scene_codec.codecs.radiance_parts import field_jobs
from scene_codec.codecs.radiance_vqrf import rate_method, scene_setup
from scene_codec.radiance.field import render_view
from scene_codec.radiance.ray_supply import made_cameras
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.dvgo_writer import write_dvgo_checkpoint
from scene_codec.voxel_fields.grid_model import GridModel, GridStep
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.node_statistics import StatisticsPlan
from scene_codec.voxel_fields.shading import NetworkShader, PlainShader
from scene_codec.voxel_fields.voxel_field import VoxelField
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits

SIDE = 12
CHECK_RAYS = 500
"""With which the encoder measures under `look_at_little`."""

DOMAIN = SceneDomain(near=2.0, far=6.0, white_background=True, low=(-1.0,) * 3, high=(1.0,) * 3)
TINY = {"steps": 4, "rays": 128}
"""Settings with which the codec does all its work in a second or two."""

PAPER = {"codes": 16, "codebook_steps": 10, "expired_codes": 2, "steps": 4, "rays": 128}
"""Likewise for the preset paper."""


def ball(shader="network", side=SIDE):
    """Return a ball with soft colours on a small grid, as DirectVoxGO has it."""
    generator = torch.Generator().manual_seed(3)
    lattice = NodeLattice((side,) * 3, (-1.0,) * 3, (1.0,) * 3)
    places = lattice.positions(torch.arange(lattice.nodes))
    layers = tuple(
        (torch.randn((outputs, inputs), generator=generator) * 0.6, torch.zeros(outputs))
        for inputs, outputs in ((4 + 3 + 6, 8), (8, 3))
    )
    made = NetworkShader(layers, 4, view_octaves=1) if shader == "network" else PlainShader()
    return GridModel(
        NodeIndex.of_mask(lattice, torch.ones(lattice.nodes, dtype=torch.bool)),
        60.0 * (0.7 - places.norm(dim=1, keepdim=True)),
        torch.sin(places @ torch.randn((3, made.features), generator=generator) * 3.0),
        made,
        DensityRule(softplus=True, shift=-8.0, scale=side / 2.0),
        GridStep(1.0 / side),
        Limits(alpha=1e-3, weight=1e-3, dark=1e-3),
    )


def write_ball(path, shader="network"):
    """Write a checkpoint of such a field."""
    write_dvgo_checkpoint(path, ball(shader), DOMAIN, 1000)
    return path


def view(field, side=24):
    """Return what a field shows from above, (side, side, 3)."""
    return render_view(field, made_cameras(DOMAIN, 5)[2].resized(side, side)).colour


def write_pictures(folder, count=6, side=20):
    """Write a data set of pictures of the ball in the Blender layout."""
    field = VoxelField(ball(), DOMAIN)
    (folder / "train").mkdir(parents=True)
    frames = []
    for index, camera in enumerate(made_cameras(DOMAIN, count)):
        colour = np.rint(render_view(field, camera.resized(side, side)).colour * 255).astype(np.uint8)
        Image.fromarray(colour).save(folder / "train" / f"r_{index}.png")
        frames.append({"file_path": f"./train/r_{index}", "transform_matrix": camera.pose.tolist()})
    angle = 2.0 * math.atan(0.5 * camera.width / camera.focal_x)
    for split in ("train", "val", "test"):
        text = json.dumps({"camera_angle_x": angle, "frames": frames})
        (folder / f"transforms_{split}.json").write_text(text, encoding="utf-8")
    return folder


def few_cameras(domain):
    """Return a few small cameras around a scene."""
    return tuple(camera.resized(20, 20) for camera in made_cameras(domain, 6))


def look_at_little(patch):
    """Let the codec look at the few rays that a field of a few hundred nodes needs, not at millions."""
    patch.setattr(scene_setup, "cameras_around", few_cameras)
    patch.setattr(field_jobs, "CHECK_RAYS", CHECK_RAYS)
    patch.setattr(rate_method, "_COMPARED_RAYS", CHECK_RAYS)
    patch.setattr(StatisticsPlan.__init__, "__defaults__", (2, 400))
