"""Bits coded one after the other, each with a probability mixed from what several contexts have seen.

For symbols whose contexts depend on everything decoded before, where no table can be written down in advance.
Each context (a *slot*) keeps a probability that moves towards what it sees, the faster the less it has seen.
The probabilities of the slots of a bit are mixed in the logistic domain with weights that learn, too (M.
Mahoney, "Adaptive weighing of context models for lossless data compression", 2005). All of it is integer
arithmetic, so that every machine computes the same probabilities. Specified in docs/FORMAT.md.

The coder is binary and arithmetic with 32-bit ends. A stream is a binary fraction without its trailing zero
bytes; the decoder accepts only the shortest spelling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import CorruptFileError

PROBABILITY_BITS = 12
MOST_SEEN = 255
"""Sightings a slot counts; more do not slow it down any further."""

_ONE = 1 << PROBABILITY_BITS
_SLOT_BITS = 16
_EVEN = 1 << (_SLOT_BITS - 1)
_CERTAIN = (1 << _SLOT_BITS) - 1
_STRETCH_LIMIT = 2047
_WEIGHT_BITS = 16
_LEARNING_SHIFT = 13
_LEARNING_ROUND = 1 << (_LEARNING_SHIFT - 1)
_ENDS_BITS = 32
_MOST_IMPLIED = 16
_TOP_BYTE = 0xFF000000
_ALL_ONES = (1 << _ENDS_BITS) - 1
_SPELT_OUT = 4
"""Inputs of most mixers."""

_SQUASH_KNOTS = (
    1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785,
    3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094,
)  # fmt: skip
"""4096 / (1 + exp(-x / 256)) at x = -2048, -1920, ..., 2048; between them the curve is straight."""


def _squash_table() -> tuple[int, ...]:
    """Return probabilities of the logistic values -2047 to 2047."""
    table = []
    for value in range(-_STRETCH_LIMIT, _STRETCH_LIMIT + 1):
        knot, part = (value >> 7) + 16, value & 127
        table.append((_SQUASH_KNOTS[knot] * (128 - part) + _SQUASH_KNOTS[knot + 1] * part + 64) >> 7)
    return tuple(table)


_SQUASH = _squash_table()
_CHANCES = tuple(min(max(probability, 1), _ONE - 1) for probability in _SQUASH)


def _stretch_table() -> tuple[int, ...]:
    """Return for each probability the smallest logistic value that is squashed to it or above."""
    table: list[int] = []
    for value, probability in enumerate(_SQUASH):
        table += [value - _STRETCH_LIMIT] * (probability + 1 - len(table))
    return tuple(table + [_STRETCH_LIMIT] * (_ONE - len(table)))


_STRETCH = _stretch_table()
_RATES = tuple(int(65536 / (seen + 1.6)) for seen in range(MOST_SEEN + 1))
_COST = tuple(-math.log2(max(chance, 0.5) / _ONE) for chance in range(_ONE + 1))


@dataclass(frozen=True, eq=False)
class BitPrior:
    """What slots and mixers know before the first bit.

    probabilities : (slots,) uint16, that of 1 in parts of 65536
    seen : (slots,) uint8, after how many bits
    weights : (mixers, inputs) int32, in parts of 65536
    """

    probabilities: NDArray[np.uint16]
    seen: NDArray[np.uint8]
    weights: NDArray[np.int32]

    @staticmethod
    def ignorant(slots: int, mixers: int, inputs: int) -> BitPrior:
        """Return the prior of somebody who has seen nothing."""
        even = np.full(slots, _EVEN, np.uint16)
        weights = np.full((mixers, inputs), (4 << _WEIGHT_BITS) // 10, np.int32)
        return BitPrior(even, np.zeros(slots, np.uint8), weights)


class BitStatistics:
    """Slots and mixers as they change while bits are coded."""

    def __init__(self, prior: BitPrior) -> None:
        # Lists: single elements are read and written far faster than those of arrays.
        self._probabilities: list[int] = prior.probabilities.tolist()
        self._seen: list[int] = prior.seen.tolist()
        self._weights: list[list[int]] = prior.weights.tolist()

    def predict(self, slots: Sequence[int], mixer: int) -> tuple[int, list[int]]:
        """Return the probability of 1 in parts of 4096, 1 to 4095, and what each slot says of it."""
        # A surface takes hundreds of thousands of these: no calls, and the usual four slots spelt out.
        probabilities, stretch, weights = self._probabilities, _STRETCH, self._weights[mixer]
        if len(slots) == _SPELT_OUT:
            a, b, c, d = slots
            inputs = [
                stretch[probabilities[a] >> 4],
                stretch[probabilities[b] >> 4],
                stretch[probabilities[c] >> 4],
                stretch[probabilities[d] >> 4],
            ]
            mixed = (
                weights[0] * inputs[0]
                + weights[1] * inputs[1]
                + weights[2] * inputs[2]
                + weights[3] * inputs[3]
            ) >> _WEIGHT_BITS
        else:
            inputs = [stretch[probabilities[slot] >> 4] for slot in slots]
            mixed = 0
            for weight, value in zip(weights, inputs, strict=False):
                mixed += weight * value
            mixed >>= _WEIGHT_BITS
        if mixed > _STRETCH_LIMIT:
            mixed = _STRETCH_LIMIT
        elif mixed < -_STRETCH_LIMIT:
            mixed = -_STRETCH_LIMIT
        return _CHANCES[mixed + _STRETCH_LIMIT], inputs

    def learn(self, bit: int, slots: Sequence[int], mixer: int, chance: int, inputs: Sequence[int]) -> None:
        """Move slots and weights towards a bit that was predicted with `chance` from `inputs`."""
        surprise = (bit << PROBABILITY_BITS) - chance
        weights = self._weights[mixer]
        if len(inputs) == _SPELT_OUT:
            a, b, c, d = inputs
            weights[0] += (a * surprise + _LEARNING_ROUND) >> _LEARNING_SHIFT
            weights[1] += (b * surprise + _LEARNING_ROUND) >> _LEARNING_SHIFT
            weights[2] += (c * surprise + _LEARNING_ROUND) >> _LEARNING_SHIFT
            weights[3] += (d * surprise + _LEARNING_ROUND) >> _LEARNING_SHIFT
        else:
            for index, value in enumerate(inputs):
                weights[index] += (value * surprise + _LEARNING_ROUND) >> _LEARNING_SHIFT
        probabilities, seen, rates = self._probabilities, self._seen, _RATES
        target = _CERTAIN if bit else 0
        for slot in slots:
            count, probability = seen[slot], probabilities[slot]
            probabilities[slot] = probability + ((target - probability) * rates[count] >> _SLOT_BITS)
            if count < MOST_SEEN:
                seen[slot] = count + 1

    def snapshot(self) -> BitPrior:
        """Return what is known now, to start others with."""
        return BitPrior(
            np.array(self._probabilities, np.uint16),
            np.array(self._seen, np.uint8),
            np.array(self._weights, np.int32),
        )


class BitCoder(Protocol):
    """Encoder or decoder: models are written once for both, so that the two cannot drift apart."""

    @property
    def encoding(self) -> bool:
        """Whether the bits given to `code` mean something."""

    def code(self, bit: int, slots: Sequence[int], mixer: int) -> int:
        """Code a bit and return it. A decoder ignores `bit` and returns what was coded.

        slots : the contexts, as many as the mixers have inputs at most
        """


class BitCounter:
    """Counts what bits would cost, and learns from them like an encoder."""

    encoding = True

    def __init__(self, prior: BitPrior) -> None:
        self.statistics = BitStatistics(prior)
        self.bits = 0.0

    def code(self, bit: int, slots: Sequence[int], mixer: int) -> int:
        """Count a bit and return it."""
        chance, inputs = self.statistics.predict(slots, mixer)
        self.bits += _COST[chance] if bit else _COST[_ONE - chance]
        self.statistics.learn(bit, slots, mixer, chance, inputs)
        return bit

    def costs(self, slots: Sequence[int], mixer: int) -> tuple[float, float]:
        """Return the bits that 0 and 1 would take now; nothing is learnt."""
        chance, _ = self.statistics.predict(slots, mixer)
        return _COST[_ONE - chance], _COST[chance]


class BitEncoder(BitCounter):
    """Writes bits into a stream."""

    def __init__(self, prior: BitPrior) -> None:
        super().__init__(prior)
        self._low, self._high = 0, _ALL_ONES
        self._written = bytearray()

    def code(self, bit: int, slots: Sequence[int], mixer: int) -> int:
        """Write a bit and return it."""
        chance, inputs = self.statistics.predict(slots, mixer)
        self.bits += _COST[chance] if bit else _COST[_ONE - chance]
        self.statistics.learn(bit, slots, mixer, chance, inputs)
        middle = self._low + ((self._high - self._low) * chance >> PROBABILITY_BITS)
        if bit:
            self._high = middle
        else:
            self._low = middle + 1
        while not (self._low ^ self._high) & _TOP_BYTE:
            self._written.append(self._high >> 24)
            self._low = self._low << 8 & _ALL_ONES
            self._high = self._high << 8 & _ALL_ONES | 0xFF
        return bit

    def finish(self) -> bytes:
        """Return the stream, of the shortest spelling."""
        return _shortest(bytes(self._written), self._low, self._high)


class BitDecoder:
    """Reads what a `BitEncoder` wrote; `finish` tells whether that was all of it."""

    encoding = False

    def __init__(self, data: bytes, prior: BitPrior) -> None:
        self.statistics = BitStatistics(prior)
        self._data = data
        self._low, self._high = 0, _ALL_ONES
        self._position = 4
        self._value = int.from_bytes(data[:4].ljust(4, b"\0"), "big")

    def code(self, bit: int, slots: Sequence[int], mixer: int) -> int:
        """Return the next bit; the argument is for encoders."""
        chance, inputs = self.statistics.predict(slots, mixer)
        middle = self._low + ((self._high - self._low) * chance >> PROBABILITY_BITS)
        found = int(self._value <= middle)
        self.statistics.learn(found, slots, mixer, chance, inputs)
        if found:
            self._high = middle
        else:
            self._low = middle + 1
        while not (self._low ^ self._high) & _TOP_BYTE:
            self._low = self._low << 8 & _ALL_ONES
            self._high = self._high << 8 & _ALL_ONES | 0xFF
            following = self._data[self._position] if self._position < len(self._data) else 0
            self._value = self._value << 8 & _ALL_ONES | following
            self._position += 1
        return found

    @property
    def exhausted(self) -> bool:
        """Whether more bytes were taken than any encoder of real symbols would have left to be implied."""
        return self._position > len(self._data) + _MOST_IMPLIED

    def finish(self) -> None:
        """Raise `CorruptFileError` unless the data are what the bits taken so far are coded to."""
        passed = self._data[: self._position - 4].ljust(self._position - 4, b"\0")
        if _shortest(passed, self._low, self._high) != self._data:
            raise CorruptFileError(
                f"A bit stream of {len(self._data)} bytes is damaged: it is not what its bits are coded to."
            )


def _shortest(written: bytes, low: int, high: int) -> bytes:
    """Return the shortest stream that begins with what is written and ends between the two ends."""
    for size in range(_ENDS_BITS // 8 + 1):
        zeros = _ENDS_BITS - 8 * size
        last = -(-low >> zeros)
        if last << zeros <= high:
            return (written + last.to_bytes(size, "big")).rstrip(b"\0")
    raise AssertionError("the lower end itself lies between the ends")
