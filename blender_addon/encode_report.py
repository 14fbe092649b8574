"""What an encode job tells its user: frames of a sequence as one, sizes and failures in words. No bpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def source_sizes(sent: list[dict[str, Any]]) -> dict[str, int]:
    """Return the bytes of each volume's file by the name it is sent under; nothing for meshes."""
    return {item["name"]: Path(item["volume"]).stat().st_size for item in sent if "volume" in item}


def joined_frames(
    stored: list[dict[str, Any]], sent: list[dict[str, Any]], sizes: dict[str, int]
) -> list[dict[str, Any]]:
    """Return what the backend reports of each object, the frames of a sequence added up to one.

    stored : what the backend reports, sent : what it was given, sizes : see `source_sizes`
    """
    hosts = {item["name"]: item["host"] for item in sent}
    joined: dict[str, dict[str, Any]] = {}
    for item in stored:
        volume = hosts.get(item["name"], {}).get("volume", {})
        head = volume.get("first") or item["name"]
        item = {**item, "source_bytes": sizes.get(item["name"], item["source_bytes"])}
        if item["name"] in sizes:
            item["frames"] = 1
        if head not in joined:
            title = hosts.get(head, {}).get("object", {}).get("name")
            joined[head] = {**item, "name": title if title and "frame" in volume else item["name"]}
        else:
            for key in ("frames", "bytes", "binary_bytes", "source_bytes", "voxels"):
                if key in item:
                    joined[head][key] += item[key]
    return list(joined.values())


def failure_words(failures: list[dict[str, str]], limit: int = 5) -> str:
    """Return the first few failures as one line of text."""
    words = " ".join(f"{failure['name']}: {failure['reason'].rstrip('.')}." for failure in failures[:limit])
    return words + (f" And {len(failures) - limit} more." if len(failures) > limit else "")


def encode_words(result: dict[str, Any]) -> str:
    """Return an encode report as one line: objects, size, and the ratio to what it was before."""
    count, size = len(result["objects"]), result["file_bytes"]
    frames = sum(stored.get("frames", 0) for stored in result["objects"])
    plain = sum(stored["source_bytes"] or stored["binary_bytes"] for stored in result["objects"])
    words = f"{count} object{'s' * (count != 1)}"
    if frames > 1:
        words += f", {frames} frames"
    return f"{words}, {size_words(size)}, {plain / max(size, 1):.1f} times smaller"


def surface_facts(stored: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the codec says of a coded surface: `faces`, `error_percent`, `bytes`; None for others."""
    facts = stored.get("details", {}).get("surface", ())
    return facts[0] if facts and "error_percent" in facts[0] else None


def fact_words(stored: dict[str, Any]) -> str:
    """Return what became of an object: bytes, and triangles and error of a coded surface."""
    facts = surface_facts(stored)
    words = size_words(stored["bytes"])
    if facts is None:
        return words
    return f"{words}, {count_words(facts['faces'])}, {error_words(facts['error_percent'])}"


def estimate_words(result: dict[str, Any]) -> str:
    """Return an estimate as one line: objects, bytes and triangles together."""
    count = len(result["objects"])
    return (
        f"{count} object{'s' * (count != 1)}: about {size_words(result['file_bytes'])}, "
        f"{count_words(result['triangles'])}"
    )


def estimated_words(told: dict[str, Any]) -> str:
    """Return what an object will come to."""
    return (
        f"{size_words(told['bytes'])}, {count_words(told['triangles'])}, {error_words(told['error_percent'])}"
    )


def count_words(triangles: int) -> str:
    """Return a number of triangles for people."""
    return f"{triangles:,} triangle{'s' * (triangles != 1)}"


def error_words(percent: float) -> str:
    """Return an error for people, in percent of the object's size."""
    return f"{percent:.2g} % off"


def setting_words(result: dict[str, Any]) -> str:
    """Return what was in force: a preset, but for what was changed of it."""
    changed = ", ".join(f"{name} {value}" for name, value in result.get("changed", {}).items())
    return f"preset {result['preset']}" + (f" with {changed}" if changed else "")


def size_words(size: int) -> str:
    """Return a number of bytes for people, with 1 kB = 1000 bytes."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.1f} kB" if size < 999_950 else f"{size / 1e6:.1f} MB"
