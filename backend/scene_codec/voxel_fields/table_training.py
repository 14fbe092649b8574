"""Tables of values at nodes while they are trained: gradients of the rows that were used, and their steps.

Adam, in which rows without a gradient keep their moments, as Sun et al. 2022 (DVGO) do it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FIRST_MOMENT = 0.9
SECOND_MOMENT = 0.99
_SMALLEST = 1e-8


def mixed(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Return values (n, c) from rows (n, 8) of a table (rows, c) with weights (n, 8)."""
    if not len(rows):
        return table.new_zeros((0, table.shape[1]))
    return F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")


def used_rows(rows: Tensor, weights: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return which rows (m,) of a table were mixed into values, and their gradients (m, c).

    rows, weights : (n, 8)
    gradient : (n, c) of those values
    """
    # Sorting and summing runs is several times faster on a processor than adding row by row.
    ordered, place = rows.flatten().int().sort(stable=True)
    found, counts = torch.unique_consecutive(ordered, return_counts=True)
    sums = F.embedding_bag(
        place.div(rows.shape[1], rounding_mode="floor"),
        gradient,
        counts.cumsum(0) - counts,
        per_sample_weights=weights.flatten().index_select(0, place),
        mode="sum",
    )
    return found.long(), sums


class TrainedTable:
    """A table (rows, c) with the moments of its gradients.

    values, moments : (rows, c) and (rows, 2 c), first moments before second ones
    shares : (rows, 1) by which the steps of rows are smaller, None for none
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self.moments = values.new_zeros((len(values), 2 * values.shape[1]))
        self.steps = 0
        self.shares: Tensor | None = None

    def step(self, rows: Tensor, gradient: Tensor, rate: float) -> None:
        """Move rows (m,), each given once, against their gradients (m, c)."""
        self.steps += 1
        moments = self.moments.index_select(0, rows)
        first, second = moments.chunk(2, dim=1)
        first.lerp_(gradient, 1.0 - FIRST_MOMENT)
        second.mul_(SECOND_MOMENT).addcmul_(gradient, gradient, value=1.0 - SECOND_MOMENT)
        self.moments.index_copy_(0, rows, moments)
        deviation = second.sqrt().div_((1.0 - SECOND_MOMENT**self.steps) ** 0.5).add_(_SMALLEST)
        change = first / deviation
        change.mul_(rate / (FIRST_MOMENT**self.steps - 1.0))
        if self.shares is not None:
            change.mul_(self.shares.index_select(0, rows))
        self.values.index_copy_(0, rows, self.values.index_select(0, rows).add_(change))
