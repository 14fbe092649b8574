"""A codebook learned from the vectors of nodes, important ones first.

Source: Li et al. 2023 (VQRF), section 3.2, with the constants of the released code. The sum of a batch is
divided by a count that is a moving average of batches, as there: in the first steps codes move too far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scene_codec.progress import Progress

BATCH = 80_000
DECAY = 0.8
SMOOTHING = 1e-5
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, kw_only=True)
class CodebookPlan:
    """How a codebook is learned.

    codes, steps : vectors, steps
    expired : least used codes replaced by the most important vectors of the batch, in each step
    weighted : whether vectors count by their importance
    batch : vectors of a step, drawn with replacement
    """

    codes: int
    steps: int
    expired: int
    weighted: bool = True
    batch: int = BATCH


@dataclass(frozen=True, eq=False)
class Batch:
    """Vectors that count in one step, each given once.

    vectors : (n, c)
    importance : (n,)
    times : (n,) int64, how often each was drawn
    """

    vectors: Tensor
    importance: Tensor
    times: Tensor


def learn_codebook(
    vectors: Tensor, importance: Tensor, plan: CodebookPlan, generator: torch.Generator, progress: Progress
) -> Tensor:
    """Return codes (codes, c) for vectors (n, c). Raises `Cancelled`.

    importance : (n,)
    """
    codes = _first_codes(plan.codes, vectors.shape[1], generator).to(vectors.device)
    if not len(vectors):
        return codes
    counts = torch.zeros(plan.codes, device=vectors.device)
    for step in range(plan.steps):
        progress.update(step / plan.steps, f"step {step}")
        drawn = torch.randint(len(vectors), (plan.batch,), generator=generator).to(vectors.device)
        # What was drawn several times is compared with the codes once.
        chosen, times = torch.unique(drawn, return_counts=True)
        batch = Batch(vectors[chosen], importance[chosen].to(vectors.dtype), times)
        codes, counts = codebook_step(codes, counts, batch, plan)
    return codes


def codebook_step(codes: Tensor, counts: Tensor, batch: Batch, plan: CodebookPlan) -> tuple[Tensor, Tensor]:
    """Return codes (k, c) and their counts (k,) after one step."""
    drawn = batch.times.sum()
    share = batch.times.to(codes.dtype)
    if plan.weighted:
        share = share * batch.importance
        share = share * (drawn / share.sum().clamp_min(1e-30))
    nearest = nearest_codes(batch.vectors, codes)
    used = torch.zeros_like(counts).index_add_(0, nearest, share)
    sums = torch.zeros_like(codes).index_add_(0, nearest, batch.vectors * share[:, None])
    counts = DECAY * counts + (1.0 - DECAY) * used
    total = counts.sum()
    smooth = (counts + SMOOTHING) / (total + len(counts) * SMOOTHING) * total
    codes = DECAY * codes + (1.0 - DECAY) * sums / smooth[:, None]
    if plan.expired:
        best = batch.importance.argsort(descending=True, stable=True)[: plan.expired]
        best = best.repeat_interleave(batch.times[best])[: plan.expired]
        least = counts.argsort(stable=True)[: len(best)]
        codes[least] = batch.vectors[best]
    return codes, counts


def nearest_codes(vectors: Tensor, codes: Tensor) -> Tensor:
    """Return the nearest of the codes (k, c) to each vector (n, c), (n,) int64."""
    lengths = codes.square().sum(dim=1)
    parts = [
        torch.addmm(lengths, part, codes.t(), alpha=-2.0).argmin(dim=1)
        for part in torch.split(vectors, _ROWS_AT_ONCE)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=vectors.device)


def _first_codes(codes: int, channels: int, generator: torch.Generator) -> Tensor:
    """Return codes near zero: He et al. 2015, uniformly, for the shape (1, codes, channels) as released."""
    bound = math.sqrt(6.0 / (codes * channels))
    return (torch.rand((codes, channels), generator=generator) * 2.0 - 1.0) * bound
