"""Trained block networks as files: those that ship with the package, those of users, those inside scenes.

```text
magic (8) | version (2) | header bytes (4) | CRC-32 of all that follows (4) | header | context table | tensors
```

Numbers are little-endian. The header is a MessagePack array, see `ModelHeader`; the context table is there
for rate-optimised networks; tensors follow in a fixed order as float16 or float32. A scene that was encoded
with a user's own model holds it in this form without the tensors that only encoding needs.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from scene_codec.bitstream import write_atomically
from scene_codec.codecs.volume_vae.block_maps import CLASS_COUNT
from scene_codec.codecs.volume_vae.rate_coding import CONTEXT_COUNT
from scene_codec.errors import CorruptFileError, InvalidRequestError, UnsupportedVersionError
from scene_codec.networks.block_vae import (
    MAX_COSINES,
    BlockNetwork,
    BlockNetworkShape,
    DenseBlockVae,
    RateBlockCoder,
    make_network,
)

MODEL_SUFFIX = ".nscmodel"
MAGIC = b"\x89NSM\r\n\x1a\n"
VERSION = 1
MAX_MODEL_BYTES = 64 * 2**20
MAX_HIDDEN = 4096
MAX_LATENTS = 1024

Part = Literal["whole", "decoder"]

_PREAMBLE = struct.Struct("<8sHII")
_ENCODER_ONLY = (
    "encoder_hidden.",
    "mean.",
    "log_variance.",
    "analysis.",
    "analysis_hidden.",
    "analysis_output.",
)


class ModelCard(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a model comes from.

    data : what it was trained on, a line for each source with its licence
    """

    name: str = ""
    data: tuple[str, ...] = ()
    steps: int = 0
    note: str = ""


class ModelHeader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of a model and its card."""

    kind: Literal["dense", "rate"]
    margin: int
    latents: int
    hidden: int
    part: Part
    precision: Literal["float16", "float32"]
    card: ModelCard

    @property
    def shape(self) -> BlockNetworkShape:
        """Sizes of the network."""
        return BlockNetworkShape(self.kind, self.margin, self.latents, self.hidden)


@dataclass(frozen=True)
class BlockModel:
    """A trained network, exactly as its bytes hold it.

    contexts : (classes, latents) uint8, which probability table codes which latent; empty for dense networks
    """

    header: ModelHeader
    network: BlockNetwork
    contexts: NDArray[np.uint8]
    data: bytes

    @cached_property
    def identity(self) -> bytes:
        """16 bytes that name this model and no other."""
        return hashlib.blake2b(self.data, digest_size=16).digest()

    @cached_property
    def decoder_data(self) -> bytes:
        """The model without what only encoding needs."""
        header = msgspec.structs.replace(
            self.header, part="decoder", card=ModelCard(name=self.header.card.name)
        )
        return _pack(header, self.network, self.contexts)

    def to(self, device: torch.device) -> BlockModel:
        """Move the network to a device; returns the model."""
        self.network.to(device)
        return self


def pack_model(
    network: BlockNetwork,
    card: ModelCard,
    contexts: NDArray[np.uint8] | None = None,
    precision: Literal["float16", "float32"] = "float16",
) -> bytes:
    """Return the bytes of a trained network; `read_model` makes the model of them."""
    shape = network.shape
    header = ModelHeader(
        kind=shape.kind,
        margin=shape.margin,
        latents=shape.latents,
        hidden=shape.hidden,
        part="whole",
        precision=precision,
        card=card,
    )
    return _pack(header, network, np.zeros((0, 0), np.uint8) if contexts is None else contexts)


def read_model(data: bytes) -> BlockModel:
    """Return the model that bytes hold.

    Raises `CorruptFileError` when they are damaged, `UnsupportedVersionError` when a newer release wrote
    them.
    """
    header, body = _read_header(data)
    dtype = np.dtype("<f2" if header.precision == "float16" else "<f4")
    network = make_network(header.shape, torch.Generator().manual_seed(0))
    tensors = _tensors(network, header.part)
    table_bytes = CLASS_COUNT * header.latents if header.kind == "rate" else 0
    expected = table_bytes + dtype.itemsize * sum(tensor.numel() for tensor in tensors.values())
    if len(body) != expected:
        raise CorruptFileError(f"The model holds {len(body)} bytes of numbers in place of {expected}.")
    contexts = np.frombuffer(body, np.uint8, table_bytes).reshape(-1, max(header.latents, 1))
    if contexts.size and int(contexts.max()) >= CONTEXT_COUNT:
        raise CorruptFileError("The model's table of contexts is out of bounds.")
    position = table_bytes
    with torch.no_grad():
        for tensor in tensors.values():
            values = np.frombuffer(body, dtype, tensor.numel(), position).astype(np.float32)
            if not np.isfinite(values).all():
                raise CorruptFileError("The model has a weight that is not a finite number.")
            tensor.copy_(torch.from_numpy(values).view_as(tensor))
            position += values.size * dtype.itemsize
    network.requires_grad_(False)
    return BlockModel(header, network, contexts, data)


def save_model(path: Path, data: bytes) -> None:
    """Write a model's bytes; an interrupted write leaves the old file whole. Raises `SceneCodecError`."""
    write_atomically(path, [data])


def load_model(name: str) -> BlockModel:
    """Return a model that ships with the package, by name, or that of a .nscmodel file.

    Raises `InvalidRequestError` when there is none, `CorruptFileError` when it is damaged,
    `UnsupportedVersionError` when a newer release wrote it.
    """
    if name in shipped_models():
        return read_model(_shipped_bytes(name))
    path = Path(name)
    if not path.is_file():
        known = ", ".join(shipped_models()) or "none so far"
        raise InvalidRequestError(
            f"There is no model '{name}'. Models of this package: {known}. Otherwise give the path of a "
            f"{MODEL_SUFFIX} file, made with: scene-codec train-volume."
        )
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise InvalidRequestError(f"'{name}' is no model: it has more than {MAX_MODEL_BYTES} bytes.")
    try:
        return read_model(path.read_bytes())
    except (CorruptFileError, UnsupportedVersionError) as problem:
        raise type(problem)(f"'{name}': {problem}") from problem


def shipped_models() -> list[str]:
    """Return the names of the models that ship with the package."""
    folder = resources.files(__package__).joinpath("models")
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted(name.removesuffix(MODEL_SUFFIX) for name in names if name.endswith(MODEL_SUFFIX))


def shipped_model_of(identity: bytes) -> BlockModel | None:
    """Return the model of the package with this identity, or None."""
    for name in shipped_models():
        data = _shipped_bytes(name)
        if hashlib.blake2b(data, digest_size=16).digest() == identity:
            return read_model(data)
    return None


def _shipped_bytes(name: str) -> bytes:
    return resources.files(__package__).joinpath("models", name + MODEL_SUFFIX).read_bytes()


def _pack(header: ModelHeader, network: BlockNetwork, contexts: NDArray[np.uint8]) -> bytes:
    dtype = "<f2" if header.precision == "float16" else "<f4"
    tensors = _tensors(network, header.part).values()
    words = msgspec.msgpack.encode(header)
    body = [words, contexts.tobytes()]
    body += [tensor.detach().cpu().numpy().astype(dtype).tobytes() for tensor in tensors]
    rest = b"".join(body)
    return _PREAMBLE.pack(MAGIC, VERSION, len(words), zlib.crc32(rest)) + rest


def _read_header(data: bytes) -> tuple[ModelHeader, bytes]:
    """Return the checked header and what follows it."""
    if len(data) < _PREAMBLE.size or len(data) > MAX_MODEL_BYTES or data[:8] != MAGIC:
        raise CorruptFileError(
            f"This is no {MODEL_SUFFIX} file: it does not begin as one, or its size is wrong."
        )
    _, version, header_bytes, checksum = _PREAMBLE.unpack_from(data)
    if version != VERSION:
        raise UnsupportedVersionError(
            f"The model is of version {version}, this release reads version {VERSION}. Update scene-codec."
        )
    rest = data[_PREAMBLE.size :]
    if zlib.crc32(rest) != checksum or header_bytes > len(rest):
        raise CorruptFileError("The model is damaged: its checksum is wrong.")
    try:
        header = msgspec.msgpack.decode(rest[:header_bytes], type=ModelHeader)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"The model's sizes cannot be read: {error}.") from error
    most = MAX_COSINES if header.kind == "rate" else MAX_LATENTS
    if not (0 <= header.margin <= 2 and 1 <= header.latents <= most and 1 <= header.hidden <= MAX_HIDDEN):
        raise CorruptFileError(
            f"The model's sizes are impossible: margin {header.margin}, {header.latents} latents, "
            f"{header.hidden} hidden."
        )
    return header, rest[header_bytes:]


def _tensors(network: BlockNetwork, part: Part) -> dict[str, torch.Tensor]:
    """Return the parameters that a model holds, in their order in the file."""
    assert isinstance(network, DenseBlockVae | RateBlockCoder)
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if part == "whole" or not name.startswith(_ENCODER_ONLY)
    }
