"""The wire between the Blender add-on and the backend service: the one file that defines it.

Standard library only and importable alone. The add-on imports it as `from . import protocol`:

- in the extension zip, `build_addon.py` puts a byte-for-byte copy of this file in place of
  `blender_addon/protocol.py`;
- in the checkout, `blender_addon/protocol.py` is a stand-in that loads this very file, so there is nothing to
  keep in step.

JSON-RPC 2.0, one message a line, UTF-8, over the backend's stdin (requests) and stdout (answers and
notifications). The first request is `hello`; nothing else is answered before it succeeded. `encode`,
`decode`, `add` and `estimate` are jobs: the job's id is the id of the request, the request is answered when
the job ends, and until then the backend sends

    progress  {"job": id, "stage": str, "fraction": 0..1, "message": str, "remaining_s": float | null}
    log       {"job": id, "text": str}

Methods and their parameters (every parameter object is checked strictly, unknown fields are refused):

    hello        {"protocol": int, "addon_version": str}
                 -> {"protocol", "version", "pid", "python", "torch", "log": path,
                     "devices": [{"id", "name", "memory_bytes"}],
                     "codecs": [{"name", "content": "mesh" | "volume", "summary", "default_preset",
                                 "presets": {name: text}, "quality_settings": [field], "estimates": bool}]}
    encode       {"objects": [OBJECT], "output": path, "codec": str | null, "preset": str | null,
                  "settings": {field: value} | null, "device": str = "auto"}
                 -> encode report with "missed": [a sentence for each object that missed what was wanted];
                 codec null: the default one of what the objects are, all meshes or all volumes
    add          {"file": path, "objects": [OBJECT], "output": path | null, "device": str = "auto"}
                 -> encode report
    estimate     {"objects": [OBJECT], "codec": str | null, "preset": str | null,
                  "settings": {field: value} | null} -> estimate report; nothing is written
    decode       {"file": path, "only": [name] | null, "triangles": int | null,
                  "folder": existing folder for arrays, "volume_folder": path | null, "device": str = "auto"}
                 -> {"objects": [OBJECT], "failures": [{"name", "reason"}]};
                 volumes become .vdb files in the volume folder, which is made if there are any; null: refused
    inspect      {"file": path} -> file summary
    list_codecs  {} -> [codec]
    doctor       {} -> what is installed, which devices, what to do about what is missing
    cancel       {"job": id} -> {"cancelled": bool}; the job's own request is answered with "cancelled"
    shutdown     {} -> {} and the backend exits

    OBJECT       {"name": str, CONTENT, "transform": [16 numbers, row major, object to world],
                  "host": {any JSON object of at most 64 KiB}}
    CONTENT      of a mesh: "vertices": path of a .npy (v, 3) float32 or float64,
                            "faces": path of a .npy (f, 3) int32 or int64
                 of a volume: "volume": path of a .vdb file, read when its turn comes

A sequence of volumes is objects whose names differ in the digits at their ends alone, in order.

An error answer is `{"code": int, "message": str, "data": {"code": word, "hint": str, ...}}`; the word is
one of `ERROR_NUMBERS` and is what programs should look at.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

PROTOCOL_VERSION = 3
"""Both sides must speak exactly the same version; any change of a message raises it."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Longest message, its newline included. Arrays travel as files, so real messages are far shorter."""

MAX_HOST_BYTES = 64 * 1024
"""Longest `host` object of one object, as compact UTF-8 JSON."""

HELLO = "hello"
ENCODE = "encode"
DECODE = "decode"
ADD = "add"
ESTIMATE = "estimate"
INSPECT = "inspect"
LIST_CODECS = "list_codecs"
DOCTOR = "doctor"
CANCEL = "cancel"
SHUTDOWN = "shutdown"
PROGRESS = "progress"
LOG = "log"

JOB_METHODS = frozenset({ENCODE, DECODE, ADD, ESTIMATE})
"""Methods that take long, report progress and can be cancelled."""

ERROR_NUMBERS: dict[str, int] = {
    "parse-error": -32700,
    "bad-message": -32600,
    "unknown-method": -32601,
    "invalid-request": -32602,
    "internal-error": -32603,
    "error": -32000,
    "cancelled": -32001,
    "backend-crash": -32002,
    "protocol-mismatch": -32003,
    "no-handshake": -32004,
    "shutting-down": -32005,
    "corrupt-file": -32010,
    "unsupported-version": -32011,
    "unsupported-scene": -32012,
    "missing-dependency": -32013,
}
"""Word for programs -> number on the wire. Words outside the table travel with the number of "error"."""

JobId = int | str


class ProtocolError(Exception):
    """A line that is not a message of this protocol; `word` is a key of `ERROR_NUMBERS`."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.word = word


def encode_message(message: dict[str, Any]) -> bytes:
    """Return `message` as one line with its newline.

    Raises `ProtocolError` if JSON cannot hold it or it is too long.
    """
    try:
        # ensure_ascii keeps lone surrogates of odd file names and every line separator out of the bytes.
        line = (
            json.dumps(message, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
            + b"\n"
        )
    except (TypeError, ValueError, RecursionError) as problem:
        raise ProtocolError(
            "invalid-request", f"The message cannot be written as JSON: {problem}"
        ) from problem
    if len(line) > MAX_LINE_BYTES:
        text = f"The message has {len(line)} bytes, the limit is {MAX_LINE_BYTES}. Use smaller jobs."
        raise ProtocolError("invalid-request", text)
    return line


def decode_message(line: bytes) -> dict[str, Any]:
    """Return the message in `line`. Raises `ProtocolError` for anything that is not a JSON-RPC 2.0 object."""
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError("bad-message", f"A message has more than {MAX_LINE_BYTES} bytes.")
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        raise ProtocolError("parse-error", f"Not a JSON message: {excerpt(line)} ({problem})") from problem
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise ProtocolError("bad-message", f"Not a JSON-RPC 2.0 message: {excerpt(line)}")
    if "method" in message:
        _check_call(message, line)
    else:
        _check_answer(message, line)
    return message


def _check_call(message: dict[str, Any], line: bytes) -> None:
    well_formed = (
        isinstance(message["method"], str)
        and isinstance(message.get("params", {}), dict)
        and ("id" not in message or _is_id(message["id"], allow_none=False))
    )
    if not well_formed:
        raise ProtocolError("bad-message", f"Not a well-formed request or notification: {excerpt(line)}")


def _check_answer(message: dict[str, Any], line: bytes) -> None:
    well_formed = _is_id(message.get("id"), allow_none=True) and ("result" in message) != ("error" in message)
    if well_formed and "error" in message:
        error = message["error"]
        well_formed = (
            isinstance(error, dict)
            and isinstance(error.get("message"), str)
            and isinstance(error.get("data", {}), dict)
        )
    if not well_formed:
        raise ProtocolError("bad-message", f"Neither a request nor an answer: {excerpt(line)}")


def _is_id(value: object, *, allow_none: bool) -> bool:
    if value is None:
        return allow_none
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def excerpt(line: bytes, limit: int = 120) -> str:
    """Return the beginning of `line` as printable text for an error message."""
    text = ascii(line[:limit].decode("utf-8", "replace"))
    return text if len(line) <= limit else f"{text} ..."


def request(job: JobId, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return a request; the answer carries the same id."""
    return {"jsonrpc": "2.0", "id": job, "method": method, "params": params}


def notification(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return a message that is not answered."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def result_answer(job: JobId, result: object) -> dict[str, Any]:
    """Return the answer to a request that succeeded."""
    return {"jsonrpc": "2.0", "id": job, "result": result}


def error_answer(
    job: JobId | None, word: str, message: str, hint: str = "", **details: object
) -> dict[str, Any]:
    """Return the answer to a request that failed; `details` are further fields of the error's `data`."""
    number = ERROR_NUMBERS.get(word, ERROR_NUMBERS["error"])
    data = {"code": word, "hint": hint, **details}
    return {"jsonrpc": "2.0", "id": job, "error": {"code": number, "message": message, "data": data}}


def read_line(stream: BinaryIO) -> bytes | None:
    """Return the next line without its newline, or None at the end of the stream.

    Never holds more than `MAX_LINE_BYTES`. A longer line is skipped to its end and refused with
    `ProtocolError`, so that the next call starts at the next line; so is a last line that was cut off
    before its newline.
    """
    line = stream.readline(MAX_LINE_BYTES)
    if not line:
        return None
    if line.endswith(b"\n"):
        return line.rstrip(b"\r\n")
    if len(line) < MAX_LINE_BYTES:
        raise ProtocolError("bad-message", f"The channel ended in the middle of a message: {excerpt(line)}")
    while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass
    raise ProtocolError("bad-message", f"A message has more than {MAX_LINE_BYTES} bytes: {excerpt(line)}")
