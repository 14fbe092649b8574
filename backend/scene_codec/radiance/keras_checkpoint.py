"""Checkpoints of the original implementation (bmild/nerf): weights of a Keras model, saved by `numpy.save`.

The file of a network is a .npy file of one object array, and that is a pickle. Its arrays are, in this order:
kernel and bias of each layer of the trunk, of the bottleneck, the view layer, the colour and the density.
Kernels are (inputs, outputs).
"""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import UnsupportedSceneError
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.restricted_pickle import (
    NUMPY_NAMES,
    Record,
    as_bytes,
    is_count,
    read_pickle,
)
from scene_codec.radiance.stored_layers import (
    StoredLayer,
    StoredNetwork,
    network_of,
    stored_layer,
    unexpected,
    without_directions,
)

_BESIDE_TRUNK = 8
"""Arrays of bottleneck, view layer, colour and density."""

_FLOATS = ("f2", "f4", "f8")
_BYTE_ORDERS = ("<", ">", "=", "|")


def load_keras_network(path: Path) -> RadianceMlp:
    """Return the network of one file.

    Raises `UnsupportedSceneError` for another layout, and plain exceptions for a damaged pickle.
    """
    arrays = _read_arrays(path)
    if len(arrays) >= 4 and arrays[-1].shape in ((4,), (5,)) and len(arrays) % 2 == 0:
        raise without_directions(path)
    depth = (len(arrays) - _BESIDE_TRUNK) // 2
    if len(arrays) % 2 or depth < 1:
        raise unexpected(
            path, f"holds {len(arrays)} arrays, and a trunk of D layers makes 2 D + 8 (24 for D = 8)"
        )
    layers = [_layer(path, arrays, index) for index in range(len(arrays) // 2)]
    bottleneck, view, colour, density = layers[depth:]
    stored = StoredNetwork(
        trunk=layers[:depth], bottleneck=bottleneck, view=[view], colour=colour, density=density
    )
    return network_of(path, stored)


def holds_objects(stream: BytesIO) -> bool:
    """Tell whether a .npy file holds a list of Python objects; the stream is behind its header then.

    Raises ValueError when it is no .npy file.
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            return False
        first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    except ValueError as error:
        raise ValueError("its header is not one that NumPy writes") from error
    return dtype == np.dtype(object) and len(shape) == 1


def _layer(path: Path, arrays: list[NDArray[np.generic]], index: int) -> StoredLayer:
    name = f"the layer of arrays {2 * index} and {2 * index + 1}"
    return stored_layer(path, name, arrays[2 * index].T, arrays[2 * index + 1])


def _read_arrays(path: Path) -> list[NDArray[np.generic]]:
    """Return the arrays of an object array."""
    data = path.read_bytes()
    stream = BytesIO(data)
    if not holds_objects(stream):
        raise unexpected(path, "holds an array of numbers, not a list of arrays")
    shape, code, _, values = _array_state(path, read_pickle(path, stream, NUMPY_NAMES))
    if not code.startswith("O") or not isinstance(values, list) or len(shape) != 1 or shape[0] != len(values):
        raise unexpected(path, "does not hold a list of arrays")
    states = [_array_state(path, value) for value in values]
    # One array could be named many times: what is made must not outgrow the file.
    if sum(math.prod(shape) * _item_size(path, code) for shape, code, _, _ in states) > len(data):
        raise UnsupportedSceneError(f"'{path.name}' is damaged: its arrays are larger than the file.")
    return [_array(path, state) for state in states]


def _array_state(path: Path, value: object) -> tuple[tuple[int, ...], str, bool, object]:
    """Return shape, type, order and values of a pickled array; nothing is made of them yet."""
    state = value.state if isinstance(value, Record) and value.maker.endswith("._reconstruct") else None
    if not isinstance(state, tuple) or len(state) != 5:
        raise unexpected(path, "holds something else than a list of arrays")
    _, shape, dtype, fortran, values = state
    if not isinstance(shape, tuple) or len(shape) > 2 or not all(is_count(length) for length in shape):
        raise unexpected(path, "holds an array that is no matrix of weights and no vector of biases")
    return shape, _type_code(path, dtype), fortran is True, values


def _type_code(path: Path, value: object) -> str:
    """Return the type that a pickled `numpy.dtype` stands for, as "<f4"; "O" for objects."""
    if isinstance(value, Record) and value.maker == "numpy.dtype" and isinstance(value.state, tuple):
        code, order = value.arguments[0], value.state[1]
        if isinstance(code, str) and code.startswith("O"):
            return "O"
        if code in _FLOATS and order in _BYTE_ORDERS:
            return f"{order}{code}"
        if isinstance(code, str):
            shown = code[:20].encode("ascii", "replace").decode()
            raise unexpected(path, f"holds an array of the type '{shown}'; weights are f2, f4 or f8")
    raise unexpected(path, "holds an array without a plain type")


def _item_size(path: Path, code: str) -> int:
    if code == "O":
        raise unexpected(path, "holds lists within the list of arrays")
    return np.dtype(code).itemsize


def _array(path: Path, state: tuple[tuple[int, ...], str, bool, object]) -> NDArray[np.generic]:
    """Return a pickled array, its declared size checked."""
    shape, code, fortran, values = state
    raw = as_bytes(values)
    dtype = cast("np.dtype[np.generic]", np.dtype(code))
    if raw is None or len(raw) != math.prod(shape) * dtype.itemsize:
        raise UnsupportedSceneError(
            f"'{path.name}' is damaged: an array of the shape {shape} has {len(raw or b'')} bytes of values."
        )
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
