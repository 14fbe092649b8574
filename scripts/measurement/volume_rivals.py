"""Runs every other program that is there on one volume, and keeps what was measured for the next time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measurement import block_dct, tthresh
from measurement.codec_points import measured_point, shares_of
from measurement.provenance import provenance

HALF_BLOSC = "OpenVDB, half + Blosc"
TRAINED_ON = ("manta_fire128", "tomhepz", "carotid", "eun_mri")
"""Beginnings of names of volumes that the shipped prior was trained on."""

SCRIPTS = Path(__file__).resolve().parents[1]

Point = dict[str, Any]
Values = NDArray[np.generic]


@dataclass(frozen=True)
class Rivals:
    """Where the other programs are; those that are not given are left out, and said to be missing.

    packages : interpreter with h5py, hdf5plugin, pysz, zfpy
    tthresh : the program
    openvdb : interpreter with OpenVDB, for example one with the package bpy
    keep : folder for points; those of the same values, code and programs are taken from there
    """

    packages: Path | None = None
    tthresh: Path | None = None
    openvdb: Path | None = None
    keep: Path | None = None

    @property
    def missing(self) -> list[str]:
        """What will not be measured, in words."""
        groups = {
            "SPERR, SZ3, zfp and the lossless ones": self.packages,
            "TTHRESH": self.tthresh,
            HALF_BLOSC: self.openvdb,
        }
        return [f"not measured: {name}" for name, path in groups.items() if path is None]

    def points(self, values: Values) -> tuple[list[Point], list[str]]:
        """Return the points of all programs, and the commits at which they were measured."""
        shares = shares_of(values)
        groups: list[tuple[list[Path], Path | None, Callable[[], list[Point]]]] = [
            ([SCRIPTS / "measurement" / "block_dct.py"], None, lambda: _dct_points(shares))
        ]
        if self.packages is not None:
            python = self.packages
            code = [SCRIPTS / "measurement" / "rival_codecs.py"]
            groups.append((code, python, lambda: _package_points(values, python)))
        if self.tthresh is not None:
            program = self.tthresh
            code = [SCRIPTS / "measurement" / "tthresh.py", program]
            groups.append((code, None, lambda: _tthresh_points(shares, program)))
        if self.openvdb is not None:
            interpreter = self.openvdb
            code = [SCRIPTS / "measurement" / "openvdb_half.py"]
            groups.append((code, interpreter, lambda: [_openvdb_point(shares, interpreter)]))
        found: list[Point] = []
        commits: list[str] = []
        for code, python_of_group, measure in groups:
            points, commit = self._kept(_digest(values, code, python_of_group), measure)
            found += points
            commits.append(commit)
        return found, list(dict.fromkeys(commits))

    def _kept(self, key: str, measure: Callable[[], list[Point]]) -> tuple[list[Point], str]:
        """Return points, and the commit of their measurement: kept ones, or new ones, which are kept."""
        file = None if self.keep is None else self.keep / f"{key}.json"
        if file is not None and file.exists():
            content = json.loads(file.read_text(encoding="utf-8"))
            return content["points"], content["commit"]
        points, commit = measure(), str(provenance()["commit"])
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_suffix(".new")
            temporary.write_text(json.dumps({"points": points, "commit": commit}), encoding="utf-8")
            temporary.replace(file)
        return points, commit


def _digest(values: Values, code: Sequence[Path], python: Path | None) -> str:
    """Return a name for a measurement: of the values, of the code, and of the packages it runs with."""
    digest = hashlib.sha256(f"{values.dtype} {values.shape}".encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    for path in (*code, SCRIPTS / "measurement" / "codec_points.py"):
        digest.update(path.read_bytes())
    if python is not None:
        listing = (
            "import importlib.metadata as m; print(sorted((d.name, d.version) for d in m.distributions()))"
        )
        digest.update(_run_python(python, "-c", listing))
    return digest.hexdigest()[:32]


def _dct_points(shares: Values) -> list[Point]:
    return [
        measured_point(block_dct.NAME, block_dct.dct_codec, shares, psnr) for psnr in block_dct.WANTED_PSNR
    ]


def _tthresh_points(shares: Values, program: Path) -> list[Point]:
    codec = tthresh.tthresh_codec(program)
    return [measured_point(tthresh.NAME, codec, shares, psnr) for psnr in tthresh.WANTED_PSNR]


def _package_points(values: Values, python: Path) -> list[Point]:
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "values.npy", Path(folder) / "result.json"
        np.save(source, np.ascontiguousarray(values))
        _run_python(python, "-m", "measurement.rival_codecs", str(source), str(result))
        points: list[Point] = json.loads(result.read_text(encoding="utf-8"))
        return points


def _openvdb_point(shares: Values, python: Path) -> Point:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "values.npy"
        np.save(source, shares)
        found = openvdb_copy("values", source, Path(folder) / "copy.vdb", python)
    return {"codec": HALF_BLOSC, "setting": None} | found


def openvdb_copy(what: str, source: Path, copy: Path, python: Path) -> dict[str, Any]:
    """Return what `openvdb_half` says of a copy. Raises `SystemExit` where OpenVDB does not use Blosc."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        words = [what, str(source), str(copy), str(result)]
        _run_python(python, "-m", "measurement.openvdb_half", *words)
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    if "blosc" not in found["compression"]:
        raise SystemExit(
            f"The OpenVDB of {python} stores '{found['compression']}'; one with Blosc is needed."
        )
    return found


def _run_python(python: Path, *words: str) -> bytes:
    """Run another interpreter in the folder of the scripts and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), *words]
    return subprocess.run(command, check=True, env=environment, cwd=SCRIPTS, stdout=subprocess.PIPE).stdout
