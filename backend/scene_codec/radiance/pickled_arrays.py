"""NumPy's arrays and scalars as inert records of a pickle, and the values that they stand for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.radiance.restricted_pickle import Record, as_bytes, is_count

_CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
_BYTE_ORDERS = ("<", ">", "=", "|")


def is_pickled_array(value: object) -> bool:
    """Tell whether a record stands for an array or a scalar of NumPy."""
    return isinstance(value, Record) and value.maker.endswith(("._reconstruct", ".scalar"))


def pickled_array(path: Path, name: str, value: object, axes: int) -> NDArray[np.generic]:
    """Return the array of numbers that a record stands for; a scalar has no axes. Its values are not copied.

    Raises `UnsupportedSceneError` calling it `name` when it is none, has more axes, or lacks values.
    """
    shape, dtype, fortran, values = _described(value) or ((), None, False, None)
    if dtype is None or len(shape) > axes:
        raise UnsupportedSceneError(f"'{path.name}': {name} is no array of numbers with at most {axes} axes.")
    raw = as_bytes(values)
    if raw is None or len(raw) != math.prod(shape) * dtype.itemsize:
        raise UnsupportedSceneError(
            f"'{path.name}' is damaged: {name} has the shape {shape} and {len(raw or b'')} bytes of values."
        )
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


_Description = tuple[tuple[int, ...], "np.dtype[np.generic] | None", bool, object]


def _described(value: object) -> _Description | None:
    """Return shape, type, whether columns come first, and values of a record; nothing is made of them yet."""
    if not isinstance(value, Record):
        return None
    if value.maker.endswith(".scalar") and len(value.arguments) == 2:
        return (), _type_of(value.arguments[0]), False, value.arguments[1]
    state = value.state if value.maker.endswith("._reconstruct") else None
    if not isinstance(state, tuple) or len(state) != 5:
        return None
    _, shape, dtype, fortran, values = state
    if not isinstance(shape, tuple) or not all(is_count(length) for length in shape):
        return None
    return shape, _type_of(dtype), fortran is True, values


def _type_of(value: object) -> np.dtype[np.generic] | None:
    if isinstance(value, Record) and value.maker == "numpy.dtype" and isinstance(value.state, tuple):
        code, order = value.arguments[0], value.state[1]
        if code in _CODES and order in _BYTE_ORDERS:
            return cast("np.dtype[np.generic]", np.dtype(f"{order}{code}"))
    return None


def object_of(path: Path, name: str, value: object) -> object:
    """Return the only object in a pickled array of objects without axes, as NumPy saves what is no array."""
    state = value.state if isinstance(value, Record) and value.maker.endswith("._reconstruct") else None
    if isinstance(state, tuple) and len(state) == 5 and state[1] == ():
        dtype, values = state[2], state[4]
        code = dtype.arguments[0] if isinstance(dtype, Record) and dtype.arguments else None
        if code in ("O", "O8", "O4") and isinstance(values, list) and len(values) == 1:
            return values[0]
    raise UnsupportedSceneError(f"'{path.name}': {name} is no single object.")
