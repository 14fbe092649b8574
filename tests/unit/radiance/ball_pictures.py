"""A data set in the Blender layout that a test makes itself: a ball with coloured octants on white."""

import json
import math

import numpy as np

from scene_codec.radiance.image_files import write_png
from scene_codec.radiance.ray_supply import orbit_camera

ANGLE = 0.6911


def write_ball(folder, *, side=16, splits=(("train", 8), ("val", 2))):
    """Write pictures with transparent backgrounds, and their cameras."""
    for split, count in splits:
        (folder / split).mkdir(parents=True)
        frames = []
        for index in range(count):
            azimuth = 2.0 * math.pi * (index + 0.5 * (split != "train")) / count
            height = 0.5 * (-1.0) ** index
            camera = orbit_camera(np.zeros(3), 4.0, azimuth, height, side)
            write_png(folder / split / f"r_{index}.png", *_picture(camera))
            frames.append({"file_path": f"./{split}/r_{index}", "transform_matrix": camera.pose.tolist()})
        content = {"camera_angle_x": ANGLE, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(content))
    return folder


def _picture(camera):
    """Return colours (side, side, 3) and opacity (side, side) of the ball of radius 1."""
    side = camera.width
    across = (np.arange(side) + 0.5 - 0.5 * side) / camera.focal_x
    local = np.stack([*np.meshgrid(across, -across), np.full((side, side), -1.0)], axis=-1)
    directions = local @ camera.pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    origin = camera.pose[:3, 3]
    along = directions @ origin
    inside = along**2 - origin @ origin + 1.0
    places = origin + directions * (-along - np.sqrt(np.maximum(inside, 0.0)))[..., None]
    colours = np.where(places > 0.0, 0.9, 0.1)
    return colours, (inside > 0.0).astype(float)
