"""A backend that speaks the real protocol and stores arrays as they are: standard library and numpy only.

Run as `python fake_backend.py MODE ...`; of what follows, the command line of the real service, only `--log`
is used.

MODE    well       every job succeeds
        crash      dies in the middle of a job, after progress was reported
        slow       a job goes on until it is cancelled
        deaf       like slow, and cancellations are ignored
        refuse     answers every job with an error
        garbage    writes a line that is no message in the middle of a job
        mismatch   speaks another protocol version
        hostile    decodes to arrays and records that would crash or confuse a careless host
"""

import io
import json
import os
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np

PROTOCOL_VERSION = 3
MODE = sys.argv[1]
_lock = threading.Lock()
_cancelled: set[int] = set()
_wake = threading.Condition()


def say(message: dict) -> None:
    with _lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def progress(job: int, fraction: float, message: str) -> None:
    params = {
        "job": job,
        "stage": "training",
        "fraction": fraction,
        "message": message,
        "remaining_s": (1 - fraction) * 100,
    }
    say({"method": "progress", "params": params})


def fail(job: int, word: str, message: str) -> None:
    error = {"code": -32000, "message": message, "data": {"code": word, "hint": "Look at the log."}}
    say({"id": job, "error": error})


def hello(job: int, _params: dict) -> None:
    version = PROTOCOL_VERSION + (MODE == "mismatch")
    presets = {"default": "The best measured one", "fast": "Quick to write"}
    quality = ["target_error", "target_size", "faces"]
    codec = {
        "name": "mesh-surface",
        "content": "mesh",
        "default_preset": "default",
        "presets": presets,
        "quality_settings": quality,
        "estimates": True,
    }
    volumes = {
        **codec,
        "name": "volume-wavelet",
        "content": "volume",
        "presets": {"balanced": "Fine"},
        "estimates": False,
    }
    answer = {
        "protocol": version,
        "version": "fake",
        "pid": os.getpid(),
        "python": "3.11",
        "torch": "none",
        "devices": [{"id": "cpu", "name": "CPU", "memory_bytes": 0}],
        "codecs": [codec, volumes],
        "log": _log_path(),
    }
    say({"id": job, "result": answer})


def encode(job: int, params: dict) -> None:
    progress(job, 0.25, "step 1 of 4")
    output = Path(params["output"])
    files: dict[str, str] = {}
    stored, reports = [], []
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for record in params["objects"]:
            sizes = {"vertices": 0, "faces": 0}
            for key in _content_keys(record):
                path = record[key]
                if path not in files or key == "volume":
                    files[path] = f"{len(stored)}-{len(files)}{Path(path).suffix}"
                    archive.write(path, files[path])
                if key in sizes:
                    sizes[key] = len(np.load(path, allow_pickle=False))
                record = {**record, key: files[path]}
            stored.append(record)
            binary = 12 * (sizes["vertices"] + sizes["faces"])
            report = {
                "name": record["name"],
                "bytes": 100,
                **sizes,
                "binary_bytes": binary,
                "source_bytes": 0,
            }
            if sizes["faces"]:
                surface = {"faces": 12, "bytes": 90, "error_percent": 0.25}
                report["details"] = {"surface": [surface]}
            reports.append(report)
        archive.writestr("objects.json", json.dumps(stored))
    temporary = output.with_name(output.name + ".tmp")
    temporary.write_bytes(packed.getvalue())
    temporary.replace(output)
    result = {
        "path": str(output),
        "file_bytes": output.stat().st_size,
        "codec": params.get("codec", "mesh-necgs"),
        "preset": params.get("preset") or "default",
        "changed": params.get("settings") or {},
        "device": "cpu",
        "seconds": 1.5,
        "objects": reports,
        "failures": [],
        "missed": _missed(reports, params.get("settings") or {}),
    }
    progress(job, 1.0, "step 4 of 4")
    say({"id": job, "result": result})


def _missed(reports: list[dict], settings: dict) -> list[str]:
    """Return the sentences of the real backend, for surfaces that all come out 0.25 % off."""
    wanted = settings.get("target_error", 1.0)
    return [
        f"{report['name']}: 0.25 % is not within the {wanted:g} % that were wanted."
        for report in reports
        if wanted < 0.25 and report["faces"]
    ]


def estimate(job: int, params: dict) -> None:
    progress(job, 0.5, "half")
    objects = [
        {
            "name": record["name"],
            "bytes": 1000,
            "faces": len(np.load(record["faces"], allow_pickle=False)),
            "triangles": 10,
            "error_percent": params.get("settings", {}).get("target_error", 0.1),
            "binary_bytes": 24,
        }
        for record in params["objects"]
    ]
    result = {
        "codec": params.get("codec", "mesh-surface"),
        "preset": params.get("preset", "balanced"),
        "changed": params.get("settings", {}),
        "file_bytes": 1000 * len(objects),
        "triangles": 10 * len(objects),
        "seconds": 0.1,
        "objects": objects,
        "failures": [],
    }
    say({"id": job, "result": result})


def decode(job: int, params: dict) -> None:
    progress(job, 0.5, "half")
    folder = Path(params["folder"])
    try:
        with zipfile.ZipFile(params["file"]) as archive:
            objects = json.loads(archive.read("objects.json"))
            for record in objects:
                for key in _content_keys(record):
                    target = Path(params["volume_folder"]) if key == "volume" else folder
                    target.mkdir(parents=True, exist_ok=True)
                    record[key] = archive.extract(record[key], target)
    except zipfile.BadZipFile:
        fail(job, "corrupt-file", f"{params['file']} is damaged.")
        return
    only = params.get("only")
    known = {record["name"] for record in objects}
    failures = [
        {"name": name, "reason": "It is not in the file."} for name in only or [] if name not in known
    ]
    chosen = [record for record in objects if only is None or record["name"] in only]
    if "triangles" in params:
        for record in chosen:
            if "faces" in record:
                np.save(record["faces"], np.load(record["faces"])[: params["triangles"]])
    if MODE == "hostile":
        hostile = _hostile_volumes if "volume" in chosen[0] else _hostile
        chosen, failures = hostile(chosen, folder)
    say({"id": job, "result": {"objects": chosen, "failures": failures}})


_WILD_HOST = {
    "version": 1,
    "mesh": "\ud800",
    "collections": [["Deep"] * 200],
    "materials": [{"material": {"name": "M", "library": "//nowhere.blend"}}] * 300,
    "material_index": 2**30,
    "properties": {"cycles": 5, "big": 2**80, "n" * 500: 1, "good": 1.5, "\ud800": 1},
}


def _hostile(chosen: list[dict], folder: Path) -> tuple[list[dict], list[dict]]:
    """Return one sound object and several that must be refused or defused."""
    first = chosen[0]
    far, nan, flat = folder / "far.npy", folder / "nan.npy", folder / "flat.npy"
    np.save(far, np.full((1, 3), 10**6, np.int32))
    np.save(nan, np.full((3, 3), np.nan, np.float32))
    np.save(flat, np.zeros(7, np.float32))
    return [
        {**first, "name": "Sound"},
        {**first, "name": "FarFace", "faces": str(far)},
        {**first, "name": "NotFinite", "vertices": str(nan)},
        {**first, "name": "WrongShape", "vertices": str(flat)},
        {**first, "name": "Outside", "vertices": "/etc/hostname"},
        {**first, "name": "BadTransform", "transform": [1, 2, 3]},
        {
            **first,
            "name": "BadHost",
            "host": {"version": 1, "object": 7, "parent": "x", "collections": [[1]]},
        },
        {**first, "name": "NoHost", "host": {}},
        *(
            {
                **first,
                "name": one,
                "host": {**_WILD_HOST, "object": {"name": one}, "parent": {"object": {"name": two}}},
            }
            for one, two in (("Cycle", "Cycle too"), ("Cycle too", "Cycle"))
        ),
    ], [{"name": "Lost", "reason": "The backend gave it up."}]


def _hostile_volumes(chosen: list[dict], folder: Path) -> tuple[list[dict], list[dict]]:
    """Return sound volumes with strange names and records, and several that must be refused."""
    first = chosen[0]
    outside = folder / "outside.vdb"
    outside.write_bytes(b"")
    own = Path(first["volume"]).with_name("wild.vdb")
    own.write_bytes(Path(first["volume"]).read_bytes())
    wild = {
        "version": 1,
        "volume": {
            "file": "../../up.vdb",
            "folder": ["..", "/", "a" * 999],
            "settings": {"frame_start": 1e99, "display.density": "x", "render.space": "MOON", "data": 1},
            "frame": -1,
        },
    }
    return [
        {**first, "name": "../..//con", "host": {}},
        {**first, "name": "Wild", "volume": str(own), "host": wild},
        {**first, "name": "Twice"},
        {**first, "name": "Outside", "volume": str(outside)},
        {**first, "name": "Missing", "volume": str(Path(first["volume"]).with_name("none.vdb"))},
        {**first, "name": "BadTransform", "transform": [1, 2, 3]},
    ], []


def inspect(job: int, params: dict) -> None:
    with zipfile.ZipFile(params["file"]) as archive:
        objects = json.loads(archive.read("objects.json"))
    say({"id": job, "result": {"objects": [{"name": record["name"]} for record in objects]}})


def _content_keys(record: dict) -> list[str]:
    return [key for key in ("vertices", "faces", "volume") if key in record]


def run_job(job: int, method: str, params: dict) -> None:
    if MODE in {"well", "hostile", "mismatch"}:
        {"encode": encode, "estimate": estimate, "decode": decode, "inspect": inspect}[method](job, params)
        return
    progress(job, 0.3, "step 3 of 10")
    if MODE == "crash":
        os._exit(139)
    if MODE == "refuse":
        fail(job, "unsupported-scene", "This scene cannot be stored.")
        return
    if MODE == "garbage":
        sys.stdout.write("Segmentation fault is imminent\n")
        sys.stdout.flush()
        return
    with _wake:
        _wake.wait_for(lambda: job in _cancelled and MODE == "slow")
    fail(job, "cancelled", "The job was cancelled.")


def _log_path() -> str:
    return sys.argv[sys.argv.index("--log") + 1] if "--log" in sys.argv else ""


def main() -> None:
    if _log_path():
        Path(_log_path()).write_text("fake backend started\n")
    for line in sys.stdin:
        message = json.loads(line)
        job, method, params = message["id"], message["method"], message["params"]
        if method == "hello":
            hello(job, params)
        elif method == "cancel":
            with _wake:
                _cancelled.add(params["job"])
                _wake.notify_all()
            say({"id": job, "result": {"cancelled": True}})
        elif method == "shutdown":
            say({"id": job, "result": {}})
            break
        else:
            threading.Thread(target=run_job, args=(job, method, params), daemon=True).start()
    os._exit(0)


main()
