"""Bakes a short cache of smoke or fire in Blender, for measuring sequences of volumes.

    blender -b -P scripts/baselines/bake_smoke.py -- --kind smoke --frames 40 --out FOLDER

The frames are FOLDER/data/fluid_data_NNNN.vdb: velocity, density, shadow, temperature and flame in 32 bits.
"""

import argparse
import sys

import bpy


def main() -> None:
    """Set the scene up and bake it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=["smoke", "fire"], default="smoke")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--resolution", type=int, default=96, help="cells along the longest side")
    parser.add_argument("--out", required=True, metavar="FOLDER")
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    options = parser.parse_args(arguments)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.frame_end = options.frames
    domain = add_domain(options)
    add_source(options.kind)
    bpy.context.view_layer.objects.active = domain
    domain.select_set(True)
    bpy.ops.fluid.bake_all()


def add_domain(options: argparse.Namespace) -> bpy.types.Object:
    """Add the box in which gas moves."""
    bpy.ops.mesh.primitive_cube_add(size=4, location=(0, 0, 3))
    domain = bpy.context.object
    domain.scale = (0.67, 0.67, 1.0)
    bpy.ops.object.transform_apply(scale=True)
    modifier = domain.modifiers.new("domain", "FLUID")
    modifier.fluid_type = "DOMAIN"
    settings = modifier.domain_settings
    settings.domain_type = "GAS"
    settings.resolution_max = options.resolution
    settings.cache_type = "ALL"
    settings.cache_directory = options.out
    settings.cache_frame_end = options.frames
    settings.cache_data_format = "OPENVDB"
    settings.openvdb_cache_compress_type = "ZIP"
    settings.openvdb_data_depth = "32"
    settings.vorticity = 0.2
    return domain


def add_source(kind: str) -> None:
    """Add a ball that gives off smoke, or burns, sideways and up."""
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.35, location=(0, 0, 1.6))
    modifier = bpy.context.object.modifiers.new("source", "FLUID")
    modifier.fluid_type = "FLOW"
    settings = modifier.flow_settings
    settings.flow_type = "BOTH" if kind == "fire" else "SMOKE"
    settings.flow_behavior = "INFLOW"
    settings.use_initial_velocity = True
    settings.velocity_coord = (0.6, 0.0, 1.0)


main()
