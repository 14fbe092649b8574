"""Sizes of a radiance network; needs no torch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RadianceShape:
    """Sizes and wiring of a radiance network.

    position_octaves, direction_octaves : frequencies 2^0 to 2^(n-1) of the encodings
    trunk : width of each layer of the trunk
    skips : layers of the trunk, counted from 0, that get the encoded position in front of their input
    linear : layers of the trunk that are not followed by a ReLU
    bottleneck : width of the layer between trunk and view layers, 0 when there is none
    bottleneck_relu : whether a ReLU follows it
    view : width of each layer between bottleneck and colour
    """

    position_octaves: int
    direction_octaves: int
    trunk: tuple[int, ...]
    skips: tuple[int, ...] = ()
    linear: tuple[int, ...] = ()
    bottleneck: int = 0
    bottleneck_relu: bool = False
    view: tuple[int, ...]

    @property
    def position_values(self) -> int:
        """Width of an encoded position."""
        return encoded_width(self.position_octaves)

    @property
    def direction_values(self) -> int:
        """Width of an encoded direction."""
        return encoded_width(self.direction_octaves)

    @property
    def trunk_inputs(self) -> tuple[int, ...]:
        """Width of what each layer of the trunk gets."""
        before = (0, *self.trunk[:-1])
        return tuple(
            width + (self.position_values if index == 0 or index in self.skips else 0)
            for index, width in enumerate(before)
        )

    @property
    def layers(self) -> tuple[tuple[str, int, int], ...]:
        """Name, inputs and outputs of every linear layer, in the order of the network's parameters."""
        named = [
            (f"trunk.{index}", inputs, outputs)
            for index, (inputs, outputs) in enumerate(zip(self.trunk_inputs, self.trunk, strict=True))
        ]
        named.append(("density", self.trunk[-1], 1))
        features = self.trunk[-1]
        if self.bottleneck:
            named.append(("bottleneck", features, self.bottleneck))
            features = self.bottleneck
        widths = (features + self.direction_values, *self.view)
        named += [(f"view.{index}", *pair) for index, pair in enumerate(itertools.pairwise(widths))]
        named.append(("colour", widths[-1], 3))
        return tuple(named)

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum((inputs + 1) * outputs for _, inputs, outputs in self.layers)


def encoded_width(octaves: int) -> int:
    """Return the width of an encoded 3-vector: itself, and sine and cosine of each octave."""
    return 3 + 6 * octaves
