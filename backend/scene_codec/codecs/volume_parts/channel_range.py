"""Voxel values of any type to numbers between 0 and 1 and back, and the values that are no numbers."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.entropy.byte_fields import ByteReader, unpacked_bits, varint
from scene_codec.errors import CorruptFileError
from scene_codec.volumes.array_storage import slabs

Values = NDArray[np.generic]

_SMALL, _TABLE_PAYS = 2, 1 << 16
"""Types of so few bytes go through a table of all their values, where there are more values than that."""


@dataclass(frozen=True)
class ChannelRange:
    """The smallest and the largest finite value of a grid's channel; both 0 when there is none."""

    low: float
    high: float

    @property
    def constant(self) -> bool:
        """Whether all finite values are the same."""
        return self.low == self.high

    def normalised(self, values: Values) -> NDArray[np.float32]:
        """Return values as float32 in [0, 1]; those that are no finite numbers take the middle."""
        if self.constant:
            return np.zeros(values.shape, np.float32)
        if values.dtype.kind in "iub" and values.dtype.itemsize <= _SMALL and values.size > _TABLE_PAYS:
            kind = values.dtype if values.dtype.kind != "b" else np.dtype(np.uint8)
            unsigned = np.dtype(f"uint{8 * kind.itemsize}")
            every = np.arange(1 << 8 * kind.itemsize, dtype=unsigned).view(kind)
            shares: NDArray[np.float32] = self._normalised(every)[values.view(unsigned)]
            return shares
        return self._normalised(values)

    def _normalised(self, values: Values) -> NDArray[np.float32]:
        wide = values.astype(np.float64)
        # Halves keep the difference of the largest float64 numbers finite.
        scaled = (0.5 * wide - 0.5 * self.low) / (0.5 * self.high - 0.5 * self.low)
        shares: NDArray[np.float32] = np.where(np.isfinite(scaled), np.clip(scaled, 0.0, 1.0), 0.5).astype(
            np.float32
        )
        return shares

    def wide(self, normalised: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return values as float64; nothing leaves the range."""
        share = np.clip(normalised.astype(np.float64), 0.0, 1.0)
        return np.clip(self.low * (1.0 - share) + self.high * share, self.low, self.high)

    def cast(self, wide: NDArray[np.float64], dtype: np.dtype[np.generic]) -> Values:
        """Return values as a type; whole numbers are rounded."""
        if dtype.kind in "iu":
            info = np.iinfo(dtype.name)
            # The largest number of 64 bits is no float64: the next one below is.
            high = (
                float(info.max) if int(float(info.max)) <= info.max else math.nextafter(float(info.max), 0.0)
            )
            return np.clip(np.rint(wide), float(info.min), high).astype(dtype)
        return (np.rint(wide) if dtype.kind == "b" else wide).astype(dtype)

    def restored(self, normalised: NDArray[np.float32], dtype: np.dtype[np.generic]) -> Values:
        """Return values of a type; whole numbers are rounded, and nothing leaves the range."""
        return self.cast(self.wide(normalised), dtype)


def range_of(values: Values) -> ChannelRange:
    """Return the range of the finite values of a channel, read piece by piece."""
    low, high = math.inf, -math.inf
    for slab in slabs(values):
        finite = slab[np.isfinite(slab)] if slab.dtype.kind == "f" else slab
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return ChannelRange(low, high) if low <= high else ChannelRange(0.0, 0.0)


def encode_exceptions(values: Values, mask: NDArray[np.bool_] | None = None) -> bytes:
    """Return some values bit for bit, and where they are; empty without any.

    mask : which; by default those that are no finite numbers
    """
    if mask is None:
        if values.dtype.kind != "f":
            return b""
        mask = ~np.isfinite(values)
    if not mask.any():
        return b""
    where = zlib.compress(np.packbits(mask).tobytes(), 9)
    what = zlib.compress(values[mask].astype(values.dtype.newbyteorder("<")).tobytes(), 9)
    return varint(len(where)) + where + what


def restore_exceptions(values: Values, data: bytes) -> None:
    """Put back what `encode_exceptions` kept of values of this shape. Raises `CorruptFileError`."""
    reader = ByteReader(data)
    where = _inflated(reader.take(reader.varint()), -(-values.size // 8))
    mask = unpacked_bits(where, values.size).astype(bool).reshape(values.shape)
    stored = values.dtype.newbyteorder("<")
    what = _inflated(reader.rest(), int(mask.sum()) * stored.itemsize)
    values[mask] = np.frombuffer(what, stored).astype(values.dtype)


def _inflated(data: bytes, size: int) -> bytes:
    """Return exactly `size` inflated bytes, whatever the data claim to hold."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, size + 1)
    except zlib.error as error:
        raise CorruptFileError(f"A list of exceptional values cannot be inflated: {error}.") from error
    if len(raw) != size or not inflater.eof or inflater.unused_data:
        raise CorruptFileError(f"A list of exceptional values does not have the {size} bytes it needs.")
    return raw
