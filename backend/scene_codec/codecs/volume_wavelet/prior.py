"""The prior: a small network in integer arithmetic that sorts coefficients into classes of like spread.

```text
features (f,) of 0..127 --> 24 --> 24 --> class 1..64          class 0: all features are zero
                  |__________________________^
```

A class is a context of the range coder; what a class means, its table, is fitted to each file. Every product
and sum is an integer below 2**24, which float32 holds exactly: the matrix products of any library, in any
order, with or without fused multiplication, give the same classes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_wavelet.neighbourhood import PHASES, feature_count
from scene_codec.volumes.lifting_wavelet import ORIENTATIONS

CLASSES = 65
HIDDEN = 24
WEIGHT_ONE = 64
"""Integer weight that stands for 1; the largest is 127."""

ACTIVATION_MAX = 127
OUTPUT_ONE = 1024
LEVELS = 6
"""Levels with biases of their own; coarser ones share the last."""

MODEL_FILES = {1: "prior_1.npz"}
"""Published priors by number. Files name theirs; none is ever changed or removed."""

NEWEST_PRIOR = max(MODEL_FILES)

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Network:
    """Weights of one orientation and phase, integers in float32."""

    first: _Floats
    first_bias: _Floats
    second: _Floats
    second_bias: _Floats
    last: _Floats
    skip: _Floats
    last_bias: _Floats

    def classes(self, features: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
        """Return the classes 1 to 64 of features (f, n)."""
        first_bias = self.first_bias[min(level, LEVELS - 1), :, None] + WEIGHT_ONE // 2
        second_bias = self.second_bias[:, None] + WEIGHT_ONE // 2
        last_bias = self.last_bias + OUTPUT_ONE // 2
        result = np.zeros(features.shape[1], np.uint8)
        for start in range(0, len(result), _AT_ONCE):
            own = features[:, start : start + _AT_ONCE].astype(np.float32)
            hidden = _activated(self.first @ own, first_bias)
            hidden = _activated(self.second @ hidden, second_bias)
            output = (self.last @ hidden + self.skip @ own)[0] + last_bias
            output *= np.float32(1.0 / OUTPUT_ONE)
            np.floor(output, out=output)
            result[start : start + _AT_ONCE] = output.clip(0, CLASSES - 2) + 1
        return result


_AT_ONCE = 1 << 13
"""Positions whose hidden units fit a processor's cache."""


def _activated(sums: _Floats, bias: _Floats) -> _Floats:
    """Return sums in 64ths of a step, in place, rounded to steps and clamped; the bias has a half in it."""
    sums += bias
    sums *= np.float32(1.0 / WEIGHT_ONE)
    np.floor(sums, out=sums)
    return np.clip(sums, 0, ACTIVATION_MAX, out=sums)


_MOST_OF_ALL = 0.7
"""From this part on picking positions costs more than working on all."""


class Prior:
    """Gives each coefficient its class."""

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Take the arrays of a model file, `<orientation><phase><name>`."""
        self._networks = {
            (orientation, phase): _network(arrays, f"{orientation}{phase}", feature_count(orientation, phase))
            for orientation in ORIENTATIONS
            for phase in range(len(PHASES))
        }

    def classes(
        self, orientation: str, phase_index: int, level: int, features: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Return the classes (n,) of the positions of a phase with the given features (f, n)."""
        # Where nothing is known to be there, almost always nothing is: no need to ask the network.
        something = np.bitwise_or.reduce(features, axis=0) > 0
        places = np.flatnonzero(something)
        network = self._networks[orientation, phase_index]
        if len(places) > _MOST_OF_ALL * len(something):
            return np.where(something, network.classes(features, level), np.uint8(0))
        result = np.zeros(len(something), np.uint8)
        result[places] = network.classes(features.take(places, axis=1), level)
        return result


@cache
def published_prior(number: int) -> Prior:
    """Return a prior that ships with the package."""
    content = files("scene_codec.codecs.volume_wavelet").joinpath(MODEL_FILES[number]).read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Prior(dict(arrays))


def _network(arrays: dict[str, NDArray[np.generic]], name: str, inputs: int) -> _Network:
    """Return one network of a model file; shapes and ranges keep all sums below 2**24."""
    shapes = {
        "first": (HIDDEN, inputs),
        "first_bias": (LEVELS, HIDDEN),
        "second": (HIDDEN, HIDDEN),
        "second_bias": (HIDDEN,),
        "last": (1, HIDDEN),
        "skip": (1, inputs),
        "last_bias": (1,),
    }
    parts = {}
    for part, shape in shapes.items():
        array = arrays[f"{name}{part}"]
        limit = 2**20 if part.endswith("bias") else WEIGHT_ONE * 2
        if array.shape != shape or np.abs(array.astype(np.int64)).max() >= limit:
            raise AssertionError(f"the prior's {name}{part} has shape {array.shape} or too large numbers")
        parts[part] = array.astype(np.float32)
    return _Network(**parts)
