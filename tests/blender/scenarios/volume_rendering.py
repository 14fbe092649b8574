"""What was stored renders as before: within what the codec's bound on values makes of pixels."""

import sys
from pathlib import Path

import bpy
import numpy as np

from scenarios.laboratory import Laboratory, delete
from scenarios.volume_scenes import add_sequence, add_volume, encode_volumes, make_samples

SIZE, SAMPLES, SEED = 48, 16, 7

MAX_ERROR = 0.01
"""Of values of the density between 0 and 1.7."""

MEAN_TOLERANCE, LARGEST_TOLERANCE = 0.0005, 0.06
"""Of pixels between 0 and 1. A ray crosses up to 3 units of the cloud, and the material absorbs and scatters
2 per unit of density, so that errors of one sign all along it would change its optical depth by
3 * 2 * 0.01 = 0.06, and light by as much. Errors of both signs cancel: the mean is asked to be far smaller.
Single pixels get the rest from paths that turn where the density decides it by a hair."""

LEVEL_SET_TOLERANCE = 0.01
"""Of the surface's place, in units: the bound on its distances and as much again for their slope."""


def volumes_of_several_grids_and_sequences_render_the_same(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    samples = make_samples(laboratory)
    objects = [
        add_volume(samples / "smoke.vdb", "Rauch"),
        add_sequence(samples / "cache", "Wolke", first=2, count=4, start=1),
    ]
    objects[0].location.x = -2
    objects[1].location.x = 0.2
    for obj in objects:
        obj.data.materials.append(_material())
    _prepare()
    before = {frame: _picture(laboratory, frame) for frame in (1, 3)}
    by_chance = _pictures_by_chance(laboratory)
    nothing = _picture_without(laboratory, objects)
    seen = [np.abs(picture - nothing).mean() for picture in before.values()]
    moved = np.abs(before[1] - before[3]).mean()
    assert min(*seen, moved) > 5 * MEAN_TOLERANCE, (seen, moved)
    path = encode_volumes(laboratory, *objects, quality="MAX_ERROR", max_error=MAX_ERROR)
    delete(*objects)
    for file in samples.rglob("*.vdb"):
        file.unlink()
    laboratory.decode(path)
    for frame, picture in before.items():
        difference = np.abs(_picture(laboratory, frame) - picture)
        sys.stdout.write(f"frame {frame}: mean {difference.mean():.6f}, largest {difference.max():.6f}\n")
        assert difference.mean() <= MEAN_TOLERANCE, (frame, difference.mean())
        assert difference.max() <= LARGEST_TOLERANCE, (frame, difference.max())
    if by_chance:
        one, other = by_chance
        difference = np.abs(_pictures_by_chance(laboratory)[0] - one).mean()
        noise = np.abs(one - other).mean()
        sys.stdout.write(f"by chance: {difference:.6f} beside {noise:.6f} between two seeds\n")
        assert difference <= noise


def a_level_set_gives_the_same_surface(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    samples = make_samples(laboratory)
    obj = add_volume(samples / "ball.vdb", "Kugel")
    radii = _radii(obj)
    assert abs(radii.mean() - 1) < 0.01
    path = encode_volumes(laboratory, obj, quality="MAX_ERROR", max_error=LEVEL_SET_TOLERANCE / 2)
    delete(*bpy.data.objects)
    laboratory.decode(path)
    new = _radii(bpy.data.objects["Kugel"])
    assert abs(new.min() - radii.min()) < LEVEL_SET_TOLERANCE
    assert abs(new.max() - radii.max()) < LEVEL_SET_TOLERANCE


def lossless_files_render_bit_for_bit_the_same(laboratory: Laboratory) -> None:
    laboratory.use_real_backend()
    samples = make_samples(laboratory)
    obj = add_volume(samples / "smoke.vdb", "Rauch")
    obj.data.materials.append(_material())
    _prepare()
    before = _picture(laboratory, 1)
    path = encode_volumes(laboratory, obj, quality="LOSSLESS")
    delete(obj)
    (samples / "smoke.vdb").unlink()
    laboratory.decode(path)
    assert np.array_equal(_picture(laboratory, 1), before)


def _radii(obj: bpy.types.Object) -> np.ndarray:
    """Return how far the vertices of a level set's surface, as Blender draws it, are from its centre."""
    mesh = bpy.data.objects.new("Fläche", bpy.data.meshes.new("Fläche"))
    bpy.context.scene.collection.objects.link(mesh)
    modifier = mesh.modifiers.new("Volume to Mesh", "VOLUME_TO_MESH")
    modifier.object, modifier.grid_name, modifier.threshold = obj, "surface", 0.0
    evaluated = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    places = np.zeros((len(evaluated.data.vertices), 3), np.float32)
    evaluated.data.vertices.foreach_get("co", places.ravel())
    assert len(places) > 500
    return np.linalg.norm(places, axis=1)


def _material() -> bpy.types.Material:
    material = bpy.data.materials.get("Dampf")
    if material is None:
        material = bpy.data.materials.new("Dampf")
        material.use_nodes = True
        nodes = material.node_tree.nodes
        nodes.clear()
        volume = nodes.new("ShaderNodeVolumePrincipled")
        volume.inputs["Density"].default_value = 2.0
        output = nodes.new("ShaderNodeOutputMaterial")
        material.node_tree.links.new(volume.outputs["Volume"], output.inputs["Volume"])
    return material


def _prepare() -> None:
    scene = bpy.context.scene
    camera = bpy.data.objects.new("Kamera", bpy.data.cameras.new("Kamera"))
    camera.location, camera.rotation_euler = (0, -7, 1.5), (np.pi / 2, 0, 0)
    light = bpy.data.objects.new("Licht", bpy.data.lights.new("Licht", "SUN"))
    light.data.energy, light.rotation_euler = 4.0, (0.6, 0.4, 0)
    for obj in (camera, light):
        scene.collection.objects.link(obj)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("Welt")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.6, 0.6, 0.6, 1)
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples, scene.cycles.seed, scene.cycles.use_denoising = SAMPLES, SEED, False
    if hasattr(scene.cycles, "volume_biased"):
        # Marching along rays: with random steps, the least change of a density sends light another way.
        scene.cycles.volume_biased = True
    scene.cycles.use_adaptive_sampling = False
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.view_settings.view_transform = "Raw"
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_depth = "32"


def _picture(laboratory: Laboratory, frame: int) -> np.ndarray:
    """Return what Cycles makes of the scene at a frame, (pixels, 3)."""
    scene = bpy.context.scene
    scene.frame_set(frame)
    scene.render.filepath = laboratory.path("bild.exr")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    pixels = np.zeros(4 * SIZE * SIZE, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    Path(scene.render.filepath).unlink()
    return np.clip(pixels.reshape(-1, 4)[:, :3], 0, 1)


def _pictures_by_chance(laboratory: Laboratory) -> list[np.ndarray]:
    """Return pictures of two seeds by the way of rendering that is the default from Blender 5.0 on."""
    cycles = bpy.context.scene.cycles
    if not hasattr(cycles, "volume_biased"):
        return []
    pictures = []
    cycles.volume_biased = False
    for seed in (SEED, SEED + 1):
        cycles.seed = seed
        pictures.append(_picture(laboratory, 1))
    cycles.volume_biased, cycles.seed = True, SEED
    return pictures


def _picture_without(laboratory: Laboratory, objects: list[bpy.types.Object]) -> np.ndarray:
    for obj in objects:
        obj.hide_render = True
    picture = _picture(laboratory, 1)
    for obj in objects:
        obj.hide_render = False
    return picture
