"""Pruning as published: the smallest weights of both networks at once, then retraining with the mask fixed.

Source: Isik 2021, "Neural 3D Scene Compression via Model Compression". The paper leaves open whether both
networks share a threshold (here they do), whether biases are pruned (here they are not), and at which rate it
retrains, for which `learning_rate_policy` has both readings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scene_codec.codecs.nerf_pruned.config import NerfPrunedSettings
from scene_codec.codecs.nerf_pruned.integer_networks import plain_integer_layers
from scene_codec.codecs.nerf_pruned.scene_setup import SceneSetup, set_up_scene
from scene_codec.codecs.nerf_pruned.syntax import CodedField, FieldHeader, StoredShape, pack_domain
from scene_codec.codecs.radiance_parts.field_jobs import check_pictures
from scene_codec.codecs.training_state import kept_state
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.networks.radiance_folding import folded
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.progress import Progress
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.checkpoints import NerfPair
from scene_codec.radiance.exact_rendering import SamplingPlan, render_exactly
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.nerf_field import OccupiedNerfField
from scene_codec.radiance.scene_domain import SceneDomain

SET_UP_SHARE, CHECKED_SHARE = 0.05, 0.06
CHECKPOINT_INTERVAL_S = 30.0
_BASE_RATE = 5e-4
_DECAY_STEPS = 250_000

Draw = Callable[[int, torch.Generator], tuple[Rays, Tensor]]
"""Returns so many random rays and their colours (n, 3)."""


def prune_by_magnitude(networks: Sequence[RadianceMlp], share: float) -> list[Tensor]:
    """Set the share of weights of smallest magnitude to zero, with one threshold for all layers.

    Returns the mask of each linear layer's weights, network by network. Biases stay.
    """
    weights = [layer.weight for network in networks for layer in network.linear_layers().values()]
    sizes = torch.cat([weight.detach().abs().reshape(-1) for weight in weights])
    kept = torch.ones_like(sizes, dtype=torch.bool)
    kept[sizes.argsort(stable=True)[: int(share * len(sizes))]] = False
    masks = []
    start = 0
    with torch.no_grad():
        for weight in weights:
            mask = kept[start : start + weight.numel()].view_as(weight)
            weight.mul_(mask)
            masks.append(mask)
            start += weight.numel()
    return masks


@dataclass(frozen=True, kw_only=True)
class RetrainingPlan:
    """How pruned networks are retrained.

    rate : learning rate of Adam, fresh moments
    steps, rays : number of steps, rays of each
    checkpoint : where an interrupted run leaves its state
    """

    rate: float
    steps: int
    rays: int
    sampling: SamplingPlan = SamplingPlan()  # noqa: RUF009 - frozen
    seed: int = 0
    checkpoint: Path | None = None


def retrain(
    networks: tuple[RadianceMlp | None, RadianceMlp],
    masks: Sequence[Tensor],
    draw: Draw,
    domain: SceneDomain,
    plan: RetrainingPlan,
    progress: Progress,
) -> None:
    """Retrain networks in place against pictures; what is masked stays zero. Raises `Cancelled`.

    networks : coarse and fine
    masks : of the fine network's layers, then of the coarse one's

    Loss and sampling are those of the original training: squared error of both networks' pictures.
    """
    run = _Run(networks, masks, domain, plan)
    try:
        with kept_state(run, plan.checkpoint, CHECKPOINT_INTERVAL_S) as after_step:
            progress = progress.resumed(run.step / max(plan.steps, 1))
            while run.step < plan.steps:
                error = run.do_step(*draw(plan.rays, run.generator))
                message = f"step {run.step}, {-10 * math.log10(max(error, 1e-12)):.1f} dB"
                progress.update(run.step / plan.steps, message)
                after_step()
    finally:
        for own in run.parameters:
            own.requires_grad_(False)


class _Run:
    """The state of one retraining."""

    def __init__(
        self,
        networks: tuple[RadianceMlp | None, RadianceMlp],
        masks: Sequence[Tensor],
        domain: SceneDomain,
        plan: RetrainingPlan,
    ) -> None:
        self._networks, self._masks, self._domain, self._plan = networks, masks, domain, plan
        present = [networks[1], *(own for own in networks[:1] if own is not None)]
        self.parameters = [own.requires_grad_() for network in present for own in network.parameters()]
        self._weights = [layer.weight for network in present for layer in network.linear_layers().values()]
        self._optimiser = torch.optim.Adam(self.parameters, lr=plan.rate, eps=1e-7)
        self.generator = torch.Generator().manual_seed(plan.seed)
        self.step = 0

    def do_step(self, rays: Rays, colours: Tensor) -> float:
        """Take one step; return the squared error of the fine network's colours."""
        device = self._weights[0].device
        wanted = colours.to(device)
        inside = to_field_space(rays.to(device), self._domain)
        seen = render_exactly(self._networks, inside, self._domain, self._plan.sampling, self.generator)
        white = self._domain.white_background
        fine, coarse = ((pixels.over(white) - wanted).square().mean() for pixels in (seen.fine, seen.coarse))
        error = float(fine.detach())
        if not math.isfinite(error):
            raise UnsupportedSceneError(f"Retraining got lost in step {self.step}. Use a lower rate.")
        self._optimiser.zero_grad(set_to_none=True)
        (fine + coarse).backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        with torch.no_grad():
            for weight, mask in zip(self._weights, self._masks, strict=True):
                weight.mul_(mask)
        self.step += 1
        return error

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "parameters": [own.detach() for own in self.parameters],
            "optimiser": self._optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        with torch.no_grad():
            for own, stored in zip(self.parameters, state["parameters"], strict=True):
                own.copy_(stored)
        self._optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.step = state["step"]


def stage_rate(pair: NerfPair) -> float:
    """Return the learning rate at which a training had arrived: from its file, otherwise as published."""
    if pair.learning_rate is not None:
        return pair.learning_rate
    return float(_BASE_RATE * 0.1 ** (pair.step / _DECAY_STEPS))


def start_rate(pair: NerfPair) -> float:
    """Return the learning rate that a training started with, at which the original code starts again."""
    if pair.layout == "krrish94":
        return 10.0 * _BASE_RATE  # its configurations say so
    return _BASE_RATE


def copies(pair: NerfPair, device: torch.device) -> tuple[RadianceMlp | None, RadianceMlp]:
    """Return copies of a pair's networks."""

    def copy(network: RadianceMlp) -> RadianceMlp:
        other = RadianceMlp(network.shape)
        other.load_state_dict(network.state_dict())
        return other.requires_grad_(False).to(device)

    return None if pair.coarse is None else copy(pair.coarse), copy(pair.fine)


def prune_as_published(
    pair: NerfPair,
    settings: NerfPrunedSettings,
    device: torch.device,
    progress: Progress,
    folder: Path | None = None,
) -> CodedField:
    """Return both networks pruned, retrained, and in integers of 16 bits."""
    coarse, fine = copies(pair, device)
    if coarse is None:
        raise UnsupportedSceneError(
            "The paper's method needs a coarse and a fine network, and there is one alone. Use method rate."
        )
    if settings.steps and not settings.images:
        raise InvalidRequestError(
            "The paper's retraining needs pictures. Name them with the setting images, or ask for 0 steps."
        )
    teacher = folded(pair.fine).to(device)
    scene = set_up_scene(teacher, pair, settings, progress.part(0.0, SET_UP_SHARE, "looking for the scene"))
    checking = progress.part(SET_UP_SHARE, CHECKED_SHARE, "looking at the pictures")
    before = OccupiedNerfField(teacher, scene.grid, scene.domain)
    check_pictures(before, scene.cameras, scene.pictures, checking)
    networks: list[RadianceMlp] = [fine, coarse]
    masks = prune_by_magnitude(networks, settings.prune)
    if settings.steps and scene.pictures is not None:
        restart = settings.learning_rate_policy == "restart"
        plan = RetrainingPlan(
            rate=start_rate(pair) if restart else stage_rate(pair),
            steps=settings.steps,
            rays=settings.rays,
            seed=settings.seed,
            checkpoint=None if folder is None else folder / "checkpoint.pt",
        )
        part = progress.part(CHECKED_SHARE, 1.0, "retraining")
        retrain((coarse, fine), masks, scene.pictures.draw, scene.domain, plan, part)
    return _in_integers(networks, masks, pair, scene)


def _in_integers(
    networks: Sequence[RadianceMlp], masks: Sequence[Tensor], pair: NerfPair, scene: SceneSetup
) -> CodedField:
    """Return networks as a file holds them."""
    space, lens = pack_domain(scene.domain)
    kept = sum(int(mask.sum()) for mask in masks)
    header = FieldHeader(
        networks=tuple(StoredShape.of(network.shape) for network in networks),
        space=space,
        lens=lens,
        white_background=scene.domain.white_background,
        corner_width=scene.domain.corner_width,
        zeros=round(1000 * (1.0 - kept / sum(mask.numel() for mask in masks))),
        source_parameters=pair.parameter_bytes // 4,
    )
    layers = tuple(plain_integer_layers(_linear_layers(network)) for network in networks)
    return CodedField(header, layers, None)


def _linear_layers(network: RadianceMlp) -> list[nn.Linear]:
    return list(network.linear_layers().values())
