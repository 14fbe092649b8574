"""Named numbers, texts and tensors of a checkpoint, each checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.errors import UnsupportedSceneError
from scene_codec.radiance.occupancy import Corner
from scene_codec.radiance.restricted_pickle import Record, as_mapping
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.radiance.torch_archive import NUMBERS, TorchArchive

MOST_NODES = 1 << 28
"""Of a grid; the largest published one has 1408 x 1156 x 128."""

EXPECTED_FILES = (
    "A trained voxel field is expected as one of these: fine_last.tar (DirectVoxGO), ckpt.npz (Plenoxels, "
    "svox2), NAME.th (TensoRF), or the folder extreme_saving or its zip archive (VQRF)."
)

_FARTHEST = 1e6
_LARGEST_STEP = 1 << 53
_ORBIT = 5.0
"""Far ends at so many half diagonals of the box: cameras at half of it see all of the box."""


def foreign(path: Path, reason: str) -> UnsupportedSceneError:
    """Return the error for a file of another layout."""
    return UnsupportedSceneError(f"'{path.name}' {reason}. {EXPECTED_FILES}")


def refused(path: Path, what: str, instead: str) -> UnsupportedSceneError:
    """Return the error for a field of a known kind that is not read."""
    return UnsupportedSceneError(f"'{path.name}' is {what}, which is not supported. {instead}")


def misshapen(path: Path, name: str, shape: object, wanted: str) -> UnsupportedSceneError:
    """Return the error for values of a wrong shape."""
    return UnsupportedSceneError(f"'{path.name}': {name} has the shape {shape} and should have {wanted}.")


def box_domain(path: Path, low: Corner, high: Corner) -> SceneDomain:
    """Return the space of a field in a box. Raises `UnsupportedSceneError` for an impossible box."""
    numbers = (*low, *high)
    if not all(abs(number) <= _FARTHEST for number in numbers) or any(
        end - start < 1.0 / _FARTHEST for start, end in zip(low, high, strict=True)
    ):
        raise UnsupportedSceneError(f"'{path.name}' has a box from {low} to {high}, which holds no scene.")
    diagonal = math.dist(low, high)
    return SceneDomain(near=0.0, far=_ORBIT * 0.5 * diagonal, white_background=True, low=low, high=high)


def finite(path: Path, name: str, values: NDArray[np.generic]) -> Tensor:
    """Return numbers as float32. Raises `UnsupportedSceneError` where one is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.array(values, dtype=np.float32, order="C")
    # Sums are not finite where a value is not, and need no mask as large as the grid.
    if not np.isfinite(np.float64(single.sum(dtype=np.float64))):
        raise UnsupportedSceneError(
            f"'{path.name}': the values of {name} are not all finite. The training diverged, or the file is "
            "damaged; take an earlier checkpoint."
        )
    return torch.from_numpy(single)


class StoredEntries:
    """A dict in a checkpoint.

    title : what errors call it
    """

    def __init__(
        self, path: Path, archive: TorchArchive, entries: Mapping[object, object], title: str = ""
    ) -> None:
        self.path = path
        self.archive = archive
        self._entries = entries
        self._title = title

    def __contains__(self, key: str) -> bool:
        return self._entries.get(key) is not None

    @property
    def names(self) -> list[str]:
        """Names of the entries."""
        return [key for key in self._entries if isinstance(key, str)]

    def within(self, key: str) -> StoredEntries:
        """Return the dict under a name."""
        entries = as_mapping(self._entries.get(key))
        if entries is None:
            raise foreign(self.path, f"holds no dict '{key}'")
        return StoredEntries(self.path, self.archive, entries, f"{key}: ")

    def array(self, key: str, axes: int) -> NDArray[np.generic]:
        """Return numbers of any type, with so many axes or fewer."""
        if key not in self:
            raise foreign(self.path, f"lacks {self._title}{key}")
        name = f"{self._title}{key}"
        return self.archive.array(name, self._entries[key], axes=axes, kinds=NUMBERS)

    def tensor(self, key: str, axes: int) -> Tensor:
        """Return finite float32 values with exactly so many axes."""
        if key not in self:
            raise foreign(self.path, f"lacks {self._title}{key}")
        name = f"{self._title}{key}"
        values = self.archive.array(name, self._entries[key], axes=axes)
        if values.ndim != axes:
            raise misshapen(self.path, name, values.shape, f"{axes} axes")
        return finite(self.path, name, values)

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """Return so many finite numbers, from a list, a tensor or an array."""
        value = self._entries.get(key)
        if isinstance(value, Record) and value.maker == "torch.Size" and value.arguments:
            value = value.arguments[0]
        if isinstance(value, Record):
            found = [float(number) for number in self.array(key, 5).reshape(-1)[: count + 1].tolist()]
        else:
            listed = list(value) if isinstance(value, list | tuple) else [value]
            found = [self._single(key, number) for number in listed[: count + 1]]
        if len(found) != count or not all(map(math.isfinite, found)):
            raise UnsupportedSceneError(
                f"'{self.path.name}': {self._title}{key} should be {count} finite numbers."
            )
        return tuple(found)

    def _single(self, key: str, value: object) -> float:
        """Return one number of a list of pickled ones."""
        if type(value) in (int, float, bool):
            assert isinstance(value, int | float)
            return float(value)
        if not isinstance(value, Record):
            return math.nan
        values = self.archive.array(f"{self._title}{key}", value, axes=1, kinds=NUMBERS)
        return float(values.reshape(-1)[0]) if values.size == 1 else math.nan

    def number(self, key: str, default: float | None = None) -> float:
        """Return one finite number."""
        if default is not None and key not in self:
            return default
        return self.numbers(key, 1)[0]

    def positive(self, key: str) -> float:
        """Return one number above zero."""
        value = self.number(key)
        if value <= 0.0:
            raise UnsupportedSceneError(
                f"'{self.path.name}': {self._title}{key} is {value} and must be above zero."
            )
        return value

    def corner(self, key: str) -> Corner:
        """Return three numbers."""
        x, y, z = self.numbers(key, 3)
        return x, y, z

    def shape(self, key: str) -> tuple[int, int, int]:
        """Return the nodes of a grid along each axis."""
        return checked_shape(self.path, f"{self._title}{key}", self.numbers(key, 3))

    def step(self, key: str) -> int:
        """Return the training step, 0 where the file does not tell."""
        step = self.number(key, 0.0)
        return int(step) if 0.0 <= step < _LARGEST_STEP else 0

    def text(self, key: str, default: str = "") -> str:
        """Return a text."""
        value = self._entries.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise UnsupportedSceneError(f"'{self.path.name}': {self._title}{key} should be a text.")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return a truth value."""
        return self.number(key, float(default)) != 0.0


def checked_shape(path: Path, name: str, shape: tuple[float, ...]) -> tuple[int, int, int]:
    """Return the nodes of a grid along each axis. Raises `UnsupportedSceneError` for too few or too many."""
    if len(shape) != 3 or any(length != int(length) or length < 2 for length in shape):
        raise misshapen(path, name, tuple(shape), "two nodes or more along each of three axes")
    if math.prod(shape) > MOST_NODES:
        raise misshapen(path, name, tuple(shape), f"at most {MOST_NODES} nodes")
    x, y, z = (int(length) for length in shape)
    return x, y, z


def shown(text: str) -> str:
    """Return a text of a file as a message may quote it."""
    return text[:60].encode("ascii", "replace").decode()
