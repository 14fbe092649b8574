"""What the golden files of the container and the entropy layer hold, and how they were made.

Run `python tests/golden/make_golden_files.py` after adding a case. It writes the files that are missing and
never touches one that exists: what has been written once must stay readable for ever.
"""

import json
from pathlib import Path

import numpy as np

from scene_codec.bitstream import ObjectRecord, SceneContent, Section, serialise
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.entropy.fitting import read_table
from scene_codec.entropy.histogram import fit_histogram
from scene_codec.entropy.packing import pack_integers
from scene_codec.entropy.range_coding import encode_symbols
from scene_codec.entropy.tables import histogram_of

FOLDER = Path(__file__).parent
ENTROPY_FILE = "entropy-v1.json"

_SINGLE = (2.0, 0.5, 0.0, 1.5, 0.0, 1.0, 0.25, -3.0, 0.0, 0.0, 1.0, 7.0, 0.0, 0.0, 0.0, 1.0)
_DOUBLE = (0.1, *_SINGLE[1:])

CONTAINERS = {
    "container-v1-empty.nscene": SceneContent("mesh-necgs", 1),
    "container-v1-plain.nscene": SceneContent("x", 0, (), (ObjectRecord("Cube", (Section(1, b"payload"),)),)),
    "container-v1-full.nscene": SceneContent(
        "mesh-necgs",
        65535,
        (Section(0, bytes(range(64))), Section(65535, b"shared, optional", required=False)),
        (
            ObjectRecord("Würfel", (Section(1, b"first"), Section(300, b"unknown", required=False)), _DOUBLE),
            ObjectRecord(
                "猴子 🐒", (Section(1, b""), Section(2, b"\x00" * 70)), None, b'{"collection":"Scene"}'
            ),
            ObjectRecord("Würfel.001", (), _SINGLE, b'{"collection":"Scene"}', instance_of=0),
            ObjectRecord("Würfel.002", (), None, b'{"collection":"Scene"}', instance_of=0),
            ObjectRecord("/ e\u0301 \\ \x00 " + "long " * 30, (Section(7, b"last"),), _SINGLE),
        ),
    ),
    "container-v2-plain.nscene": SceneContent(
        "mesh-surface", 2, (), (ObjectRecord("Cube", (Section(0, b"payload"),)),)
    ),
    "container-v2-full.nscene": SceneContent(
        "not-numbered",
        65535,
        (Section(0, bytes(range(64))), Section(65535, b"shared, optional", required=False)),
        (
            ObjectRecord(
                "猴子 🐒 " + "long " * 30,
                (Section(1, b""), Section(300, b"unknown", required=False), Section(2, b"\x00" * 70)),
                _DOUBLE,
                b'{"collection":"Scene"}',
            ),
        ),
    ),
    "container-v2-shared.nscene": SceneContent(
        "volume-vae",
        1,
        (Section(4, b"shared"),),
        (ObjectRecord("Rauch", (Section(1, b"first"), Section(7, b"")), None),),
    ),
}


def pseudo_random(count: int, seed: int) -> np.ndarray:
    """Return numbers from 0 to 2**32 - 1 that are the same with every numpy (Knuth's MMIX generator)."""
    state, values = seed, []
    for _ in range(count):
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        values.append(state >> 32)
    return np.array(values, dtype=np.int64)


def two_sided(count: int, spread: int, seed: int) -> np.ndarray:
    """Return integers around zero, most of them small."""
    draws = pseudo_random(4 * count, seed).reshape(4, count) % (2 * spread + 1) - spread
    return draws[0] * draws[1] * draws[2] // (spread * spread) + draws[3] % 2


def _tables() -> dict[str, bytes]:
    """Descriptions of one table for each feature of the format."""
    values, repeats = histogram_of(pseudo_random(900, 5) % 7 * 3 + pseudo_random(900, 6) % 2)
    stored = fit_histogram(values, repeats)
    assert stored is not None
    return {
        "geometric": bytes([0x07, 150]),
        "nearly flat, long": bytes([0x07, 250]),
        "light tails": bytes([0x0A, 170]),
        "flattest top": bytes([0x0E, 200]),
        "heavy tails": bytes([0x02, 140]),
        "heaviest tails": bytes([0x00, 128]),
        "centre probability": bytes([0x17, 120, 230]),
        "two sides": bytes([0x29, 160, 130]),
        "centre and limit": bytes([0xC7, 180, 0x83, 0x02, 0x80, 0x01]),
        "everything": bytes([0xF4, 90, 60, 110, 0x05, 40]),
        "limit zero": bytes([0x87, 0, 0]),
        "histogram": stored.description,
    }


def entropy_cases() -> dict[str, object]:
    """Return the content of the entropy file."""
    tables = _tables()
    streams = []
    for index, (name, description) in enumerate(tables.items()):
        centre = read_table(ByteReader(description)).low if name == "histogram" else 0
        symbols = two_sided(150, 4 + 3 * index, index) + centre
        streams.append({"name": name, "parts": [[name, symbols.tolist()]]})
    extremes = [0, 2**31 - 1, -(2**31), 1, 65536, -65536, 2**30, -1]
    streams.append(
        {"name": "escapes", "parts": [["geometric", extremes], ["limit zero", [0, 1, -1, 2, 300]]]}
    )
    streams.append({"name": "nothing", "parts": [["geometric", []], ["histogram", []]]})
    streams.append({"name": "many", "parts": [[name, two_sided(20, 9, 77).tolist()] for name in tables]})
    for stream in streams:
        parts = [
            (np.array(symbols, dtype=np.int64), read_table(ByteReader(tables[name])))
            for name, symbols in stream["parts"]
        ]
        stream["bytes"] = encode_symbols(parts).hex()
    arrays = [two_sided(400, 6, 1), two_sided(3, 2, 2), pseudo_random(300, 3) % 3 * 10, np.zeros(0, np.int64)]
    return {
        "tables": {name: description.hex() for name, description in tables.items()},
        "streams": streams,
        "packed": {"arrays": [array.tolist() for array in arrays], "bytes": pack_integers(arrays).hex()},
    }


def main() -> None:
    """Write the files that are missing."""
    files = {name: serialise(content) for name, content in CONTAINERS.items()}
    files[ENTROPY_FILE] = json.dumps(entropy_cases(), ensure_ascii=True).encode()
    for name, data in files.items():
        if not (FOLDER / name).exists():
            (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
