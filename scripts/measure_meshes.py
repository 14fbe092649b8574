r"""Rate-distortion curves of mesh codecs on one set, all measured alike: a table, JSON and two pictures.

    python scripts/measure_meshes.py --data FOLDER --set dev --alone
    python scripts/measure_meshes.py --data FOLDER --set dev --alone --contenders draco-hull draco gltfpack \
        --gltfpack PATH --ours "paper=mesh-necgs:paper" --ours "ours=mesh-surface::target_error=0.05/0.1/0.2"
    python scripts/measure_meshes.py --data FOLDER --set makehuman --ours "ours=mesh-necgs:balanced"

Contenders that are programs of others code each mesh by itself:
  draco-hull  quadric simplification (fast-simplification, qslim), then Draco: the best of all settings
  draco       Draco alone, at several numbers of bits
  gltfpack    meshoptimizer's, simplified and quantised, after Zstandard; needs --gltfpack
G-PCC (trisoup) is left out: it codes points, and a mesh made from them again says more of the making.

With --alone, ours codes each mesh in a file of its own. Without it, all meshes of the set lie in one file,
and means over the set are compared: a rival may then choose for each mesh the setting with which its own mean
is smallest.

Bytes are those of whole files. Every measurement is kept in `output/mesh_rates/SET/` and not made again by a
later call, unless --again names its contender: do so when the codec has changed. Results go to
`docs/results/mesh_rates_SET[_alone].json`, pictures to `docs/pictures/`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from measurement import mesh_rate_pictures
from measurement.kept_rows import Rows
from measurement.mesh_codecs import OwnSetting, parse_own
from measurement.mesh_jobs import Job, measure
from measurement.mesh_rivals import DracoAlone, DracoHull, Gltfpack, Rival
from measurement.mesh_sets import add_set_options, set_files
from measurement.mesh_tables import contents
from measurement.provenance import CHECKOUT
from measurement.results import RESULTS, write_results
from scene_codec.metrics.mesh_distance import DEFAULT_SAMPLES
from scene_codec.scaling.pool import open_pool

KEPT = CHECKOUT / "output" / "mesh_rates"
CONTENDERS = ("draco-hull", "draco", "gltfpack")


def main() -> int:
    """Measure what is asked for and write the results; returns the exit status."""
    options = parse()
    files = tuple(set_files(options.data, options.set, options.limit))
    rows: Rows = []
    failures: list[dict[str, str]] = []
    with open_pool(f"processes:{options.processes}") as pool:
        for outcome in pool.map_unordered(measure, jobs(options, files)):
            if outcome.result is not None:
                rows += outcome.result
            else:
                job = outcome.job
                reason = outcome.failure or "no reason given"
                failures.append({"name": job.meshes, "contender": job.contender.name, "reason": reason})
                print(f"{job.meshes}: {job.contender.name}: {reason}", file=sys.stderr)
    if not rows:
        print("Nothing was measured.", file=sys.stderr)
        return 1
    name = f"{options.set}{'_alone' if options.alone else ''}{f'_{options.limit}' if options.limit else ''}"
    out = options.out or RESULTS / f"mesh_rates_{name}.json"
    table, details = contents(rows, failures, name, [path.name for path in files], options.alone)
    write_results(out, table, details, (options.data,))
    print(out)
    folder = CHECKOUT / "docs" / "pictures" if options.out is None else out.parent
    for picture in mesh_rate_pictures.refresh(out, folder):
        print(picture)
    return 0


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_set_options(parser)
    parser.add_argument("--alone", action="store_true", help="ours too codes each mesh in a file of its own")
    parser.add_argument("--contenders", nargs="*", choices=CONTENDERS, default=["draco-hull", "draco"])
    parser.add_argument("--gltfpack", metavar="PATH", help="the program, if it is not found by its name")
    parser.add_argument(
        "--ours",
        action="append",
        type=parse_own,
        default=[],
        metavar="NAME=CODEC:PRESET:KEY=VALUE,...",
        help="settings of a codec of the project; all of one NAME are a curve. PRESET may be empty, "
        "KEY=A/B/C is one setting for each value. Repeatable. A NAME of `paper` has a column of its own",
    )
    parser.add_argument("--again", nargs="*", default=[], metavar="NAME", help="contenders to measure anew")
    parser.add_argument("--kept", action="store_true", help="measure nothing, tell what earlier calls did")
    parser.add_argument("--samples", type=int, default=DEFAULT_SAMPLES, help="points on each surface")
    parser.add_argument("--processes", type=int, default=1, help="meshes at once")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for ours")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file, pictures beside it")
    options = parser.parse_args()
    names = {own.name for settings in options.ours for own in settings}
    if clash := sorted(names & set(CONTENDERS)):
        parser.error(f"'{clash[0]}' is the name of a rival; call ours otherwise")
    return options


def rivals(options: argparse.Namespace) -> list[Rival]:
    """Return the chosen programs; says so when one is not there."""
    found: list[Rival] = []
    for name in options.contenders:
        if name != "gltfpack":
            found.append(DracoHull() if name == "draco-hull" else DracoAlone())
        elif executable := shutil.which(options.gltfpack or "gltfpack"):
            found.append(Gltfpack(str(Path(executable).absolute())))
        else:
            print("gltfpack is missing and left out: name the program with --gltfpack PATH.", file=sys.stderr)
    return found


def jobs(options: argparse.Namespace, files: tuple[Path, ...]) -> Iterator[Job]:
    """Return what there is to measure, ours last."""
    own = [
        replace(setting, device=options.device, threads=options.threads)
        for settings in options.ours
        for setting in settings
    ]
    for contender in (*rivals(options), *own):
        together = isinstance(contender, OwnSetting) and not options.alone
        shared: dict[str, Any] = {
            "alone": not together,
            "samples": options.samples,
            "folder": KEPT / options.set,
            "again": contender.name in options.again,
            "kept_only": options.kept,
        }
        for paths in [files] if together else [(path,) for path in files]:
            yield Job(contender, paths, **shared)


if __name__ == "__main__":
    sys.exit(main())
