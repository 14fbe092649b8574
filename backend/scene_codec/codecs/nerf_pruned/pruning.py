"""Which weights become zero, and when.

Source of the schedule: Zhu and Gupta 2017, equation 1. Scores: magnitude as in Isik 2021; with the deviation
of the input as Wanda (Sun et al. 2023); with the gradient as in first-order sensitivity (Molchanov et al.
2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scene_codec.codecs.nerf_pruned.quantised_network import QuantisedNetwork

SCHEDULE_END = 0.4
"""Part of the steps after which the wanted share is pruned."""

MASKS_END = 0.75
"""Part of the steps after which the masks stay. Before, pruned weights may come back for others."""

UPDATE_INTERVAL = 10
"""Steps after which the masks are chosen again."""


def share_at(done: float, wanted: float) -> float:
    """Return the share to prune when a part `done` of the training is over: a cubic rise to `wanted`."""
    left = max(0.0, 1.0 - done / SCHEDULE_END)
    return wanted * (1.0 - left**3)


def prune(network: QuantisedNetwork, share: float, scores: Sequence[Tensor]) -> None:
    """Mask the share of all prunable weights with the lowest scores, one threshold for all layers.

    scores : of each of `network.prunable`, like its weights
    """
    flat = torch.cat([own.reshape(-1) for own in scores])
    count = int(share * len(flat))
    kept = torch.ones_like(flat, dtype=torch.bool)
    if count:
        # By rank and not by a threshold, so that equal scores are cut where the share is reached.
        kept[flat.argsort(stable=True)[:count]] = False
    start = 0
    for layer in network.prunable:
        own = kept[start : start + layer.mask.numel()]
        layer.mask.copy_(own.view_as(layer.mask))
        start += len(own)


class WeightScores:
    """Scores of the prunable weights, with what has to be observed for them in training."""

    def __init__(self, network: QuantisedNetwork, kind: str) -> None:
        self._network, self._kind = network, kind
        self.observed: list[Tensor] = [torch.zeros_like(layer.weight) for layer in network.prunable]
        if kind == "activation":
            self.observed = [torch.zeros_like(layer.weight[:1]) for layer in network.prunable]

    @property
    def wants_inputs(self) -> bool:
        """Whether the layers' inputs must be observed."""
        return self._kind == "activation"

    @torch.no_grad()
    def observe_gradients(self, decay: float = 0.9) -> None:
        """Take note of the gradients of the last step."""
        if self._kind != "gradient":
            return
        for layer, mean in zip(self._network.prunable, self.observed, strict=True):
            if layer.weight.grad is not None:
                mean.mul_(decay).add_((layer.weight * layer.weight.grad).abs(), alpha=1.0 - decay)

    @torch.no_grad()
    def observe_inputs(self, layer: int, inputs: Tensor, decay: float = 0.9) -> None:
        """Take note of a batch of inputs (n, columns) of a prunable layer."""
        self.observed[layer].mul_(decay).add_(inputs.square().mean(dim=0, keepdim=True), alpha=1.0 - decay)

    @torch.no_grad()
    def current(self) -> list[Tensor]:
        """Return the scores of each prunable layer."""
        layers = self._network.prunable
        if self._kind == "steps":
            return [(layer.weight / layer.log2_step.exp2()).abs() for layer in layers]
        if self._kind == "activation":
            return [
                layer.weight.abs() * square.sqrt()
                for layer, square in zip(layers, self.observed, strict=True)
            ]
        if self._kind == "gradient":
            return [mean.clone() for mean in self.observed]
        return [layer.weight.detach().abs() for layer in layers]
