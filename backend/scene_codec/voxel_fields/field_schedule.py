"""When the stages of a training begin, when there are more nodes, and how far a step goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scene_codec.voxel_fields.field_training_config import FieldTrainingSettings

_LATE_DECAY = 0.1
_PRUNINGS = 10
"""How often cells that turned out to be empty are left out while the network learns, spread evenly."""


@dataclass(frozen=True)
class Change:
    """What happens before a step.

    colours : by what colours are made from now on; "same" goes on with the same field
    fewer : how many times fewer nodes there are from now on than at the end
    grown : how many times the number of nodes doubles now
    finds_box : whether the box around the scene is found, or found again, with what has been learnt
    """

    colours: Literal["plain", "network", "same"]
    fewer: float
    grown: int = 0
    finds_box: bool = False


class FieldSchedule:
    """The course of a training.

    box_end, plain_end : step before which the box is known, and before which the network comes
    """

    def __init__(self, settings: FieldTrainingSettings) -> None:
        self._settings = settings
        steps = settings.steps
        self.box_end = min(max(1, round(settings.coarse_share * steps)), steps - 1)
        self.plain_end = min(self.box_end + round(settings.plain_share * steps), steps - 1)
        changes: dict[int, Change] = {}
        most = len(settings.growth)
        if self.plain_end > self.box_end:
            for step in ((self.box_end + self.plain_end) // 2, self.box_end):
                changes[step] = Change("plain", 2.0**most, finds_box=True)
        changes[self.plain_end] = Change("network", 2.0**most, finds_box=True)
        rest = steps - self.plain_end
        done = 0
        for part in range(1, rest):
            now = sum(part >= share * rest for share in settings.growth)
            if now > done or (now == most and part * _PRUNINGS // rest > (part - 1) * _PRUNINGS // rest):
                changes[self.plain_end + part] = Change("same", 2.0 ** (most - now), now - done)
                done = now
        self._changes = changes

    def change(self, step: int) -> Change | None:
        """Return what happens before a step."""
        return self._changes.get(step)

    def rate(self, step: int) -> float:
        """Return by what the rates of a step are smaller than those at the start."""
        if step < self.box_end:
            return 1.0
        if step < self.plain_end:
            return float(_LATE_DECAY ** ((step - self.box_end) / (self.plain_end - self.box_end)))
        horizon = self._settings.decay * 1000.0 or float(self._settings.steps - self.plain_end)
        return float(_LATE_DECAY ** ((step - self.plain_end) / horizon))
