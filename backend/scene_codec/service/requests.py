"""The parameters of every method, checked when they arrive. `protocol.py` describes them in words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from scene_codec.errors import InvalidRequestError
from scene_codec.service.protocol import MAX_HOST_BYTES

MAX_OBJECTS = 100_000

Text = Annotated[str, msgspec.Meta(max_length=4096)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parameters: unknown fields are refused."""


class HelloParams(Params, frozen=True, kw_only=True):
    """Parameters of `hello`."""

    protocol: int
    addon_version: Text


class NoParams(Params, frozen=True, kw_only=True):
    """Parameters of methods that have none."""


class CancelParams(Params, frozen=True, kw_only=True):
    """Parameters of `cancel`."""

    job: int | str


class ObjectParams(Params, frozen=True, kw_only=True):
    """One object of the host: a mesh as paths of `.npy` files, or a volume as the path of its file."""

    name: Name
    vertices: Text | None = None
    faces: Text | None = None
    volume: Text | None = None
    transform: Annotated[list[float], msgspec.Meta(min_length=16, max_length=16)]
    host: dict[str, Any]

    def __post_init__(self) -> None:
        """Refuse, with ValueError, what is neither a mesh nor a volume, or both."""
        given = [name for name in ("vertices", "faces", "volume") if getattr(self, name) is not None]
        if given not in (["vertices", "faces"], ["volume"]):
            raise ValueError(f"give either `vertices` and `faces`, or `volume`; {self.name!r} has {given}")

    def host_bytes(self) -> bytes:
        """Return `host` as it is kept in the file. Raises `InvalidRequestError` if it is too long."""
        encoded = msgspec.json.encode(self.host) if self.host else b""
        if len(encoded) > MAX_HOST_BYTES:
            raise InvalidRequestError(
                f"The host data of {self.name!r} has {len(encoded)} bytes; at most {MAX_HOST_BYTES} are kept."
            )
        return encoded


Objects = Annotated[list[ObjectParams], msgspec.Meta(min_length=1, max_length=MAX_OBJECTS)]


class EncodeParams(Params, frozen=True, kw_only=True):
    """Parameters of `encode`."""

    objects: Objects
    output: Text
    codec: Text | None = None
    preset: Text | None = None
    settings: dict[str, Any] | None = None
    device: Text = "auto"


class AddParams(Params, frozen=True, kw_only=True):
    """Parameters of `add`."""

    file: Text
    objects: Objects
    output: Text | None = None
    device: Text = "auto"


class EstimateParams(Params, frozen=True, kw_only=True):
    """Parameters of `estimate`."""

    objects: Objects
    codec: Text | None = None
    preset: Text | None = None
    settings: dict[str, Any] | None = None


class DecodeParams(Params, frozen=True, kw_only=True):
    """Parameters of `decode`."""

    file: Text
    folder: Text
    volume_folder: Text | None = None
    only: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=MAX_OBJECTS)] | None = None
    triangles: Annotated[int, msgspec.Meta(ge=1)] | None = None
    device: Text = "auto"


class InspectParams(Params, frozen=True, kw_only=True):
    """Parameters of `inspect`."""

    file: Text


def absolute_path(field: str, text: str) -> Path:
    """Return `text` as a path. Raises `InvalidRequestError` if it is relative: the host runs elsewhere."""
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise InvalidRequestError(f"The parameter {field!r} must be an absolute path, not {text!r}.")
    return path
