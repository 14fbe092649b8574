"""Integers as adaptive bits: zero or not, sign, order of magnitude in unary, the bits below it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scene_codec.entropy.adaptive_bits import BitCoder, BitCounter

MOST_CLASSES = 20
"""Magnitudes go up to 2**20 - 1."""

LARGEST_INTEGER = (1 << MOST_CLASSES) - 1

_MODELLED_BITS = 3
"""Bits below the highest that have statistics by their place; the others share one slot for each class."""


class SlotPlan:
    """Hands out slots and mixers, in the order in which models are made."""

    def __init__(self) -> None:
        self.slots = 0
        self.mixers = 0

    def take_slots(self, count: int) -> int:
        """Return the first of `count` slots."""
        first = self.slots
        self.slots += count
        return first

    def take_mixer(self) -> int:
        """Return a mixer."""
        self.mixers += 1
        return self.mixers - 1


class IntegerModel:
    """A model of integers in several contexts at once.

    sizes : how many values each context number has
    """

    def __init__(self, plan: SlotPlan, sizes: Sequence[int], *, signed: bool = True) -> None:
        self._signed = signed
        self._zero = [plan.take_slots(size) for size in sizes]
        self._sign = [plan.take_slots(size) for size in sizes] if signed else []
        self._classes = [plan.take_slots(size * MOST_CLASSES) for size in sizes]
        self._below = plan.take_slots(MOST_CLASSES * (_MODELLED_BITS + 1) * 2)
        self._zero_mixer, self._sign_mixer = plan.take_mixer(), plan.take_mixer()
        self._class_mixers = [plan.take_mixer() for _ in range(MOST_CLASSES)]
        self._below_mixer = plan.take_mixer()

    def code(self, coder: BitCoder, value: int, contexts: Sequence[int]) -> int:
        """Code an integer and return it; a decoder ignores `value`.

        contexts : a number for each of `sizes`, known to the decoder
        """
        magnitude = abs(value)
        slots = [first + context for first, context in zip(self._zero, contexts, strict=True)]
        if coder.code(int(magnitude == 0), slots, self._zero_mixer):
            return 0
        negative = 0
        if self._signed:
            slots = [first + context for first, context in zip(self._sign, contexts, strict=True)]
            negative = coder.code(int(value < 0), slots, self._sign_mixer)
        top = self._code_class(coder, magnitude.bit_length() - 1, contexts)
        found = 1
        for place in range(top - 1, -1, -1):
            found = 2 * found + coder.code(
                magnitude >> place & 1, (self._slot_below(top, place, found),), self._below_mixer
            )
        return -found if negative else found

    def costs(self, counter: BitCounter, contexts: Sequence[int]) -> IntegerCosts:
        """Return what integers would take in one context, as long as nothing is coded."""
        return IntegerCosts(self, counter, contexts)

    def zero_costs(self, counter: BitCounter, contexts: Sequence[int]) -> tuple[float, float]:
        """Return the bits for any number but zero, and for zero."""
        slots = [first + context for first, context in zip(self._zero, contexts, strict=True)]
        return counter.costs(slots, self._zero_mixer)

    def sign_costs(self, counter: BitCounter, contexts: Sequence[int]) -> tuple[float, float]:
        """Return the bits for a positive number, and for a negative one."""
        if not self._signed:
            return 0.0, math.inf
        slots = [first + context for first, context in zip(self._sign, contexts, strict=True)]
        return counter.costs(slots, self._sign_mixer)

    def class_costs(self, counter: BitCounter, number: int, contexts: Sequence[int]) -> tuple[float, float]:
        """Return the bits for the order of magnitude `number`, and for a higher one, if it is no lower."""
        if number == MOST_CLASSES - 1:
            return 0.0, math.inf
        return counter.costs(self._class_slots(number, contexts), self._class_mixers[number])

    def _code_class(self, coder: BitCoder, top: int, contexts: Sequence[int]) -> int:
        """Code the place of the highest bit."""
        for number in range(MOST_CLASSES - 1):
            slots = self._class_slots(number, contexts)
            if not coder.code(int(top > number), slots, self._class_mixers[number]):
                return number
        return MOST_CLASSES - 1

    def _class_slots(self, number: int, contexts: Sequence[int]) -> list[int]:
        return [
            first + context * MOST_CLASSES + number
            for first, context in zip(self._classes, contexts, strict=True)
        ]

    def _slot_below(self, top: int, place: int, found: int) -> int:
        """Return the slot of a bit below the highest, of those of its class that are told apart."""
        depth = min(top - 1 - place, _MODELLED_BITS)
        return self._below + (top * (_MODELLED_BITS + 1) + depth) * 2 + (found & 1 if depth else 0)


class IntegerCosts:
    """About how many bits integers would take in one context; what several of them share is asked once."""

    def __init__(self, model: IntegerModel, counter: BitCounter, contexts: Sequence[int]) -> None:
        self._model, self._counter, self._contexts = model, counter, contexts
        self._not_zero, self._zero = model.zero_costs(counter, contexts)
        self._signs: tuple[float, float] | None = None
        self._classes: list[float] = []
        self._higher = 0.0

    def of(self, value: int) -> float:
        """Return the bits of one integer; those below its highest bit count as one each."""
        if value == 0:
            return self._zero
        if self._signs is None:
            self._signs = self._model.sign_costs(self._counter, self._contexts)
        top = abs(value).bit_length() - 1
        while len(self._classes) <= top:
            here, higher = self._model.class_costs(self._counter, len(self._classes), self._contexts)
            self._classes.append(self._higher + here)
            self._higher += higher
        return self._not_zero + self._signs[value < 0] + self._classes[top] + top
