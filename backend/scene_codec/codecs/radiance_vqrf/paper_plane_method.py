"""VQ-TensoRF: VQRF as published on planes of texels.

Source: Li et al. 2023, section 4.1, with rates of the released code. Two deviations: the regularisation that
TensoRF's configurations add to the squared error is left out, as checkpoints do not tell it, and codebooks
are learned as those of grids, with the settings at hand (released: 500 steps, not weighted, keep 0.7).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scene_codec.codecs.radiance_vqrf.config import RadianceVqrfSettings
from scene_codec.codecs.radiance_vqrf.paper_codebook import CodebookPlan, learn_codebook, nearest_codes
from scene_codec.codecs.radiance_vqrf.paper_finetuning import (
    SYNC_INTERVAL,
    FinetuningPlan,
    TiedRows,
    check_finite,
    do_steps,
)
from scene_codec.codecs.radiance_vqrf.paper_grid import halves
from scene_codec.codecs.radiance_vqrf.paper_importance import Split, split_by_importance, trace_all_rays
from scene_codec.codecs.radiance_vqrf.paper_planes import (
    PLANES,
    PaperPlane,
    PaperPlanes,
    as_table,
    channel_bytes,
    other_names,
    plane_names,
    texels,
)
from scene_codec.codecs.radiance_vqrf.supervision import Supervision
from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.ray_supply import CameraSet
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.factored_model import PLANE_AXES, FactoredModel, FactoredProbe
from scene_codec.voxel_fields.shading import PlainShader
from scene_codec.voxel_fields.voxel_rendering import trace

PLANE_RATE = 0.05
NETWORK_RATE = 2.5e-3
"""Published rates for a setting of 1; its default of 0.1 gives 0.005 and 2.5e-4."""

_BETAS = (0.9, 0.99)


@dataclass(frozen=True, eq=False)
class PlanesPass:
    """What one look at all rays tells.

    importance : of each plane (texels,) float64
    pixels : (n,) int32, rays that pass through places where there may be something
    """

    importance: tuple[Tensor, ...]
    pixels: Tensor


@dataclass(frozen=True, eq=False)
class CodedPlanes:
    """Planes whose texels are left out, kept or stand for a code.

    splits : of each of three planes
    tied, codebooks : by the name of each of six planes
    """

    model: FactoredModel
    splits: tuple[Split, ...]
    tied: dict[str, TiedRows]
    codebooks: dict[str, Tensor]


def look_at_planes(
    model: FactoredModel, domain: SceneDomain, cameras: CameraSet, progress: Progress
) -> PlanesPass:
    """Return the importance of all texels, and which rays are worth training with. Raises `Cancelled`."""
    device = model.basis.device
    importance = [
        torch.zeros(count, dtype=torch.float64, device=device) for count in texels(model.density_factors)
    ]
    plain = replace(model, basis=model.basis[:3], shader=PlainShader())
    met = []
    with torch.no_grad():
        for pixels, seen in trace_all_rays(plain, domain, cameras, device, progress):
            met.append(pixels)
            assert isinstance(seen.probe, FactoredProbe)
            places = seen.probe.places[seen.place[seen.coloured]]
            _add_to_planes(model, places, seen.weights[seen.coloured], importance)
    return PlanesPass(tuple(importance), torch.cat(met))


def _add_to_planes(model: FactoredModel, places: Tensor, weights: Tensor, importance: list[Tensor]) -> None:
    """Add the weights (n,) of samples at places (n, 3) in [-1, 1] to the texels around them."""
    planes = zip(model.density_factors.planes, PLANE_AXES, importance, strict=True)
    for plane, (first, second), sums in planes:
        rows, columns = plane.shape[1:]
        last = torch.tensor([columns - 1, rows - 1], device=places.device)
        at = ((places[:, [first, second]] + 1.0) * (0.5 * last)).clamp_min(0.0).minimum(last)
        base = at.floor().minimum((last - 1).clamp_min(0))
        far = at - base
        for right in (0, 1):
            for below in (0, 1):
                part = (far[:, 0] if right else 1.0 - far[:, 0]) * (far[:, 1] if below else 1.0 - far[:, 1])
                column = (base[:, 0].long() + right).clamp_max(columns - 1)
                row = (base[:, 1].long() + below).clamp_max(rows - 1)
                sums.index_add_(0, row * columns + column, (part * weights).double())


def quantised_planes(
    model: FactoredModel, seen: PlanesPass, settings: RadianceVqrfSettings, progress: Progress
) -> CodedPlanes:
    """Return planes with codes for texels, and kept ones in eight bits. Raises `Cancelled`."""
    splits = tuple(split_by_importance(own, settings.prune, settings.keep) for own in seen.importance)
    if not all(bool(split.held.any()) for split in splits):
        raise UnsupportedSceneError("The cameras see nothing of the radiance field.")
    plan = CodebookPlan(
        codes=settings.codes,
        steps=settings.codebook_steps,
        expired=settings.expired_codes,
        weighted=settings.weighted,
    )
    generator = torch.Generator().manual_seed(settings.seed)
    values = dict(model.parameters())
    tied, codebooks = {}, {}
    names = [*plane_names("density"), *plane_names("appearance")]
    for number, name in enumerate(names):
        split, importance = splits[number % PLANES], seen.importance[number % PLANES]
        table = as_table(values[name].detach())
        rows = (split.held & ~split.kept).nonzero().squeeze(1)
        part = progress.part(number / len(names), (number + 1) / len(names), "learning codebooks")
        codebook = learn_codebook(table[rows], importance[rows], plan, generator, part)
        tied[name] = TiedRows(rows, nearest_codes(table[rows], codebook))
        other = torch.zeros_like(table)
        other[rows] = codebook[tied[name].codes]
        other[split.kept] = channel_bytes(table[split.kept]).values().to(table.device)
        values[name] = other.t().reshape(values[name].shape).contiguous()
        codebooks[name] = codebook
    return CodedPlanes(model.with_parameters(values), splits, tied, codebooks)


def tuned_planes(
    coded: CodedPlanes, scene: tuple[Supervision, SceneDomain], plan: FinetuningPlan, progress: Progress
) -> CodedPlanes:
    """Return planes after joint fine-tuning. Raises `Cancelled`, leaving a checkpoint."""
    if not len(plan.pixels) or not plan.steps:
        return coded
    supply, domain = scene
    run = _Run(coded, domain, plan)
    do_steps(run, supply, plan, progress)
    run.make_equal()
    values = {name: value.detach() for name, value in run.values.items()}
    return replace(coded, model=coded.model.with_parameters(values), codebooks=run.codebooks)


def stored_planes(coded: CodedPlanes) -> PaperPlanes:
    """Return planes as a file holds them."""
    values = coded.model.parameters()

    def plane(index: int, name: str) -> PaperPlane:
        kept = as_table(values[name])[coded.splits[index].kept]
        codes = coded.tied[name].codes.cpu().numpy().astype("u2")
        return PaperPlane(channel_bytes(kept), codes, halves(coded.codebooks[name]))

    mask = coded.model.mask
    return PaperPlanes(
        held=tuple(split.held.cpu().numpy() for split in coded.splits),
        kept=tuple(split.kept.cpu().numpy() for split in coded.splits),
        density=tuple(plane(*own) for own in enumerate(plane_names("density"))),
        appearance=tuple(plane(*own) for own in enumerate(plane_names("appearance"))),
        others=tuple(halves(values[name]) for name in other_names(coded.model)),
        mask=None if mask is None else mask.held.cpu().numpy(),
    )


class _Run:
    """The state of one fine-tuning."""

    def __init__(self, coded: CodedPlanes, domain: SceneDomain, plan: FinetuningPlan) -> None:
        self._coded, self._domain, self._plan = coded, domain, plan
        self.codebooks = {name: codebook.clone() for name, codebook in coded.codebooks.items()}
        parameters = coded.model.parameters()
        self.values = {name: own.detach().clone().requires_grad_() for name, own in parameters.items()}
        network = [own for name, own in self.values.items() if name == "basis" or name.startswith("shader.")]
        grids = [own for own in self.values.values() if all(own is not other for other in network)]
        self._rates = (PLANE_RATE * plan.rate, NETWORK_RATE * plan.rate)
        groups = [{"params": grids, "lr": self._rates[0]}, {"params": network, "lr": self._rates[1]}]
        self._optimiser = torch.optim.Adam(groups, betas=_BETAS)
        self._generator = torch.Generator().manual_seed(plan.seed)
        self.number = 0

    def do_step(self, supply: Supervision) -> float:
        """Take one step; return the squared error of its batch."""
        device = self.values["basis"].device
        rays, colours = self._plan.draw(supply, self._generator)
        model = self._coded.model.with_parameters(self.values)
        seen = trace(model, to_field_space(rays.to(device), self._domain), self._domain)
        shown = seen.pixels().over(self._domain.white_background)
        error = (shown - colours.to(device)).square().mean()
        check_finite(error.detach(), self.number)
        if error.requires_grad:
            self._optimiser.zero_grad(set_to_none=True)
            error.backward()  # type: ignore[no-untyped-call]
            for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
                group["lr"] = rate * 0.1 ** (self.number / 20_000)
            self._optimiser.step()
            self._leave_out()
        self.number += 1
        if self.number % SYNC_INTERVAL == 0:
            self.make_equal()
        return float(error.detach())

    def _leave_out(self) -> None:
        """Set texels that are not held to zero again."""
        with torch.no_grad():
            for prefix in ("density", "appearance"):
                for name, split in zip(plane_names(prefix), self._coded.splits, strict=True):
                    self.values[name].mul_(split.held.view(self.values[name].shape[1:]))

    def make_equal(self) -> None:
        """Replace texels of the same code by their mean."""
        with torch.no_grad():
            for name, tied in self._coded.tied.items():
                table = as_table(self.values[name]).contiguous()
                tied.make_equal(table, self.codebooks[name])
                self.values[name].copy_(table.t().reshape(self.values[name].shape))

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "values": {name: value.detach() for name, value in self.values.items()},
            "codebooks": self.codebooks,
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "step": self.number,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        with torch.no_grad():
            for name, value in self.values.items():
                value.copy_(state["values"][name])
        for name, codebook in self.codebooks.items():
            codebook.copy_(state["codebooks"][name])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self.number = state["step"]
