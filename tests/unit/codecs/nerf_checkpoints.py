"""Tiny trained fields and their pictures, made by the tests themselves."""

import json
import math

import numpy as np
import torch
from PIL import Image

from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.networks.radiance_shape import RadianceShape
from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.checkpoint_writer import write_checkpoint
from scene_codec.radiance.field import render_view
from scene_codec.radiance.llff_layout import NEAREST
from scene_codec.radiance.nerf_field import NerfPairField
from scene_codec.radiance.ray_supply import made_cameras
from scene_codec.radiance.scene_domain import SceneDomain

DOMAIN = SceneDomain(near=2.0, far=6.0, white_background=True, low=(-1.5,) * 3, high=(1.5,) * 3)
WIDTH = 16
TINY = {"steps": 6, "rays": 64, "samples": 64, "cells": 16}
"""Settings with which the codec does all its work in a second or two."""


def blob_network(radius=0.7, seed=0, centre=(0.0, 0.0, 0.0)):
    """Return a network of the published wiring that shows a solid octahedron with soft colours."""
    shape = RadianceShape(
        position_octaves=1, direction_octaves=1, trunk=(WIDTH, WIDTH), bottleneck=WIDTH, view=(8,)
    )
    network = RadianceMlp(shape, torch.Generator().manual_seed(seed)).requires_grad_(False)
    first = network.trunk[0]
    first.weight[:6].zero_()
    first.weight[:6, :3] = torch.cat([torch.eye(3), -torch.eye(3)])
    first.bias[:6] = torch.tensor([*(-place for place in centre), *centre])
    second = network.trunk[1]
    second.weight[:6].zero_()
    second.weight[:6, :6] = torch.eye(6)
    second.bias[:6].zero_()
    network.density.weight.zero_()
    network.density.weight[0, :6] = -120.0
    network.density.bias.fill_(120.0 * radius)
    return network


def write_blob(path, *, pair=True, domain=DOMAIN):
    """Write a checkpoint of one or two such networks."""
    fine = blob_network()
    write_checkpoint(path, (blob_network(seed=1) if pair else None, fine), domain, 1000)
    return path


def write_pictures(folder, count=6, side=20):
    """Write a data set of pictures of the field in the Blender layout."""
    field = NerfPairField(None, blob_network(), DOMAIN)
    (folder / "train").mkdir(parents=True)
    frames = []
    for index, camera in enumerate(made_cameras(DOMAIN, count)):
        seen = render_view(field, camera.resized(side, side))
        colour = np.rint(seen.colour * 255).astype(np.uint8)
        Image.fromarray(colour).save(folder / "train" / f"r_{index}.png")
        frames.append({"file_path": f"./train/r_{index}", "transform_matrix": camera.pose.tolist()})
    angle = 2.0 * math.atan(0.5 * camera.width / camera.focal_x)
    for split in ("train", "val", "test"):
        text = json.dumps({"camera_angle_x": angle, "frames": frames})
        (folder / f"transforms_{split}.json").write_text(text, encoding="utf-8")
    return folder


def write_forward_facing(folder, network, domain, count=9, side=20):
    """Write a data set of pictures of a field in the layout of LLFF, from cameras around the origin."""
    field = NerfPairField(None, network, domain)
    (folder / "images").mkdir(parents=True)
    rows = []
    for index in range(count):
        place = [0.25 * (index % 3 - 1), 0.25 * (index // 3 - 1), 0.0]
        pose = np.eye(4)
        pose[:3, 3] = place
        camera = Camera(
            width=side,
            height=side,
            focal_x=side,
            focal_y=side,
            centre_x=side / 2,
            centre_y=side / 2,
            pose=pose,
        )
        colour = np.rint(render_view(field, camera).colour * 255).astype(np.uint8)
        Image.fromarray(colour).save(folder / "images" / f"{index}.png")
        axes = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # down, right, back
        matrix = np.column_stack([axes, place, [side] * 3])
        rows.append([*matrix.reshape(-1), NEAREST, domain.far])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return folder
