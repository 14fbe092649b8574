"""`blender --command scene_codec encode|estimate|decode ...`: the add-on without a window, for pipelines."""

import argparse
import json
import sys
import time
from typing import Any

import bpy

from . import jobs
from .bridges.mesh_bridge import SURFACE_TYPES
from .bridges.object_reader import reference_to
from .bridges.volume_bridge import make_volume_paths_relative
from .bridges.volume_reader import has_volume
from .encode_report import encode_words, estimate_words, estimated_words, failure_words
from .operators.decode import DecodeRequest, start_decode
from .operators.encode import EncodeRequest, parse_settings, start_encode
from .operators.estimate import start_estimate
from .output_files import absolute, check_writable, existing_folder, with_suffix

COMMAND = "scene_codec"  # Blender accepts identifiers only, so no hyphen

EXAMPLES = f"""\
examples:
  blender scene.blend --command {COMMAND} encode -o scene.nscene
      store every mesh, curve, text and metaball of the scene, with its modifiers applied
  blender scene.blend --command {COMMAND} encode -o rocks.nscene --objects Rock Rock.001 --preset fast
      store two objects, with a quicker preset
  blender scene.blend --command {COMMAND} estimate --target-error 0.05
      tell about how many bytes and triangles that takes, before it is done
  blender scene.blend --command {COMMAND} encode -o scene.nscene --target-error 0.05
      keep every object within 0.05 % of its size on average; or --target-size BYTES, --triangles N
  blender scene.blend --command {COMMAND} encode --volumes -o smoke.nscene --max-error 0.01
      store every volume, sequence and fluid cache of the scene instead; a file holds one or the other
  blender --command {COMMAND} encode --volumes --folder cache/data -o smoke.nscene
      store all .vdb files of a folder, numbered ones as sequences
  blender --command {COMMAND} decode scene.nscene -o restored.blend
      bring the objects back into an empty scene and save it; with a .blend file first, into that one
  blender --command {COMMAND} decode scene.nscene -o light.blend --triangles 2000
      the same, but every mesh that has more simplified to 2000 triangles

The backend has to be installed (Edit > Preferences > Add-ons > Neural Scene Codec), or the environment
variable SCENE_CODEC_BACKEND_PYTHON has to name a Python that has the scene_codec package.
The exit code is 0 when every object went through, 1 when something was left out or failed, 2 for wrong
arguments.
"""


def run(arguments: list[str]) -> int:
    """Run the command with these arguments, print what happened, and return the exit code."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as wish:  # argparse leaves after --help and wrong arguments; Blender must not
        return int(wish.code or 0)
    try:
        return {"encode": _encode, "estimate": _estimate, "decode": _decode}[options.action](options)
    except (jobs.JobFailedError, RuntimeError) as problem:
        _say(f"Error: {problem}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"blender --command {COMMAND}",
        description="Store the objects of a scene in one small .nscene file, or bring them back.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="encode|estimate|decode")
    encode = actions.add_parser("encode", help="store objects of the open or given .blend file")
    encode.add_argument("-o", "--output", required=True, help=".nscene file to write")
    estimate = actions.add_parser(
        "estimate", help="tell about how many bytes and triangles encoding will come to; nothing is written"
    )
    for action in (encode, estimate):
        _add_source_flags(action)
    _add_volume_flags(encode)
    decode = actions.add_parser("decode", help="bring the objects of .nscene files into a .blend file")
    decode.add_argument("files", nargs="+", metavar="FILE", help=".nscene files to read")
    decode.add_argument("-o", "--output", required=True, help=".blend file to write")
    decode.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="objects to decode; default: all"
    )
    decode.add_argument(
        "--volume-folder",
        metavar="FOLDER",
        help="where the .vdb files of volumes go; default: a folder beside each .nscene file",
    )
    decode.add_argument(
        "--triangles",
        type=_count,
        default=0,
        metavar="N",
        help="simplify meshes that have more to N triangles",
    )
    for action in (encode, decode):
        action.add_argument("--device", default="auto", help="auto, cpu or cuda; default: auto")
    for action in (encode, estimate, decode):
        action.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    return parser


def _count(text: str) -> int:
    """Return a number of triangles. Raises ValueError, which argparse puts into words."""
    count = int(text)
    if count < 1:
        raise ValueError
    return count


def _add_source_flags(action: argparse.ArgumentParser) -> None:
    """Add what says which objects are meant, and how exact they are to be."""
    action.add_argument("blend", nargs="?", help=".blend file to open first; default: the one that is open")
    action.add_argument("--objects", nargs="+", metavar="NAME", help="objects to take; default: all")
    action.add_argument("--codec", default="", help="codec; default: the backend's")
    action.add_argument("--preset", default="", help="preset; default: the codec's best measured one")
    action.add_argument("--settings", default="", metavar="JSON", help="fields of the codec's configuration")
    action.add_argument("--no-modifiers", action="store_true", help="take the objects before their modifiers")
    quality = action.add_argument_group("quality")
    targets = quality.add_mutually_exclusive_group()
    targets.add_argument(
        "--target-error", type=float, metavar="PERCENT", help="of each mesh, on average, of its diagonal"
    )
    targets.add_argument("--target-size", type=int, metavar="BYTES", help="of each mesh, volume and frame")
    quality.add_argument("--triangles", type=_count, metavar="N", help="most triangles of each mesh")


def _add_volume_flags(encode: argparse.ArgumentParser) -> None:
    volumes = encode.add_argument_group("volumes")
    volumes.add_argument("--volumes", action="store_true", help="store volumes instead of surfaces")
    volumes.add_argument("--folder", help="store all .vdb files of this folder instead of objects")
    quality = volumes.add_mutually_exclusive_group()
    quality.add_argument("--psnr", type=float, metavar="DB", help="signal-to-noise ratio of each grid")
    quality.add_argument("--max-error", type=float, metavar="E", help="no active voxel is farther off")
    quality.add_argument("--lossless", action="store_true", default=None, help="bit for bit")
    volumes.add_argument(
        "--topology", choices=("exact", "tolerant"), help="which voxels are active; default: exact"
    )


def _encode(options: argparse.Namespace) -> int:
    of_volumes, of_meshes = _given(options, VOLUME_SETTINGS), _given(options, MESH_SETTINGS)
    if (of_volumes or options.folder) and not options.volumes:
        raise jobs.JobFailedError("These options are for volumes: add --volumes.")
    if of_meshes and options.volumes:
        raise jobs.JobFailedError("--target-error and --triangles are for meshes: leave out --volumes.")
    _open(options.blend)
    folder = existing_folder(options.folder) if options.folder else None
    content = "volume" if options.volumes else "mesh"
    job = start_encode(
        EncodeRequest(
            objects=tuple(reference_to(obj) for obj in _objects(options.objects, content))
            if not folder
            else (),
            filepath=with_suffix(options.output),
            content=content,
            folder=folder,
            codec=options.codec,
            preset=options.preset,
            settings=_settings(options) | of_volumes,
            device=options.device,
            apply_modifiers=not options.no_modifiers,
        )
    )
    _finish(job)
    for line in job.result["missed"]:
        _say(line)
    return _tell(job, options.json, encode_words(job.result))


def _estimate(options: argparse.Namespace) -> int:
    _open(options.blend)
    job = start_estimate(
        EncodeRequest(
            objects=tuple(reference_to(obj) for obj in _objects(options.objects, "mesh")),
            codec=options.codec,
            preset=options.preset,
            settings=_settings(options),
            apply_modifiers=not options.no_modifiers,
        )
    )
    _finish(job)
    if not options.json:
        for told in job.result["objects"]:
            _say(f"{told['name']}: {estimated_words(told)}")
    return _tell(job, options.json, estimate_words(job.result))


def _open(blend: str | None) -> None:
    if blend:
        bpy.ops.wm.open_mainfile(filepath=str(absolute(blend)))


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of these names that were given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the codec's settings that the options of meshes and of all contents name."""
    given = _given(options, ("target_size", *MESH_SETTINGS))
    if "triangles" in given:
        given["faces"] = given.pop("triangles")
    return given | parse_settings(options.settings)


def _decode(options: argparse.Namespace) -> int:
    output = absolute(options.output).with_suffix(".blend")
    check_writable(output)
    request = DecodeRequest(
        filepaths=tuple(absolute(path) for path in options.files),
        volume_folder=absolute(options.volume_folder) if options.volume_folder else None,
        only=tuple(options.only),
        triangles=options.triangles,
        device=options.device,
    )
    if not bpy.data.filepath:
        # The startup file's cube would sit among the objects, and take the name of one of them.
        bpy.ops.wm.read_homefile(use_empty=True)
    job = start_decode(request)
    _finish(job)
    bpy.ops.wm.save_as_mainfile(filepath=str(output))
    if make_volume_paths_relative(job.result["objects"]):
        bpy.ops.wm.save_mainfile()
    count = len(job.result["objects"])
    return _tell(job, options.json, f"{count} object{'s' * (count != 1)} in {output}")


VOLUME_SETTINGS = ("psnr", "max_error", "lossless", "topology")
MESH_SETTINGS = ("target_error", "triangles")


def _objects(names: list[str] | None, content: str) -> list[bpy.types.Object]:
    """Return the objects of these names, or all of the scene that can have such content."""
    objects = bpy.context.scene.objects
    if names is None:
        if content == "volume":
            return [obj for obj in objects if has_volume(obj)]
        return [obj for obj in objects if obj.type in SURFACE_TYPES]
    missing = [name for name in names if name not in objects]
    if missing:
        raise jobs.JobFailedError(f"There is no object named {', '.join(missing)} in the scene.")
    return [objects[name] for name in names]


def _finish(job: jobs.Job) -> None:
    """Run a job to its end, progress on standard error. Raises `JobFailedError` when it failed."""
    told = ""

    def pause() -> None:
        nonlocal told
        words = f"{job.fraction:4.0%} {job.message}"
        if words != told:
            told = words
            _say(words)
        time.sleep(0.05)

    jobs.run_to_end(job, pause)
    if job.state is not jobs.JobState.DONE:
        raise jobs.JobFailedError(job.error or "The job was cancelled.")


def _tell(job: jobs.Job, as_json: bool, words: str) -> int:
    if as_json:
        sys.stdout.write(json.dumps(job.result) + "\n")
        sys.stdout.flush()
    else:
        _say(f"{job.title}: {words}")
    failures = job.result["failures"]
    if failures:
        _say(f"Left out: {failure_words(failures)}")
    return 1 if failures else 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


_handles = []


def register() -> None:
    """Offer the command to `blender --command`."""
    _handles.append(bpy.utils.register_cli_command(COMMAND, run))


def unregister() -> None:
    """Withdraw it."""
    bpy.utils.unregister_cli_command(_handles.pop())
