"""What the decoder's output is compared with: the truncation band, or the paper's loss on the whole grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.codecs.mesh_necgs.config import MeshNecgsSettings
from scene_codec.metrics.grid_similarity import structural_similarity
from scene_codec.networks.surface_support import SurfaceSupport, child_offsets, parents

SATURATED = 0.999
"""Magnitude from which a truncated distance counts as saturated; half precision keeps it apart from 1."""

CROSSING_BAND = 0.6
"""Only vertices less than a cell (0.5) from the surface can bound a crossed edge; a little more keeps it
steady."""

OUTER_BAND_WEIGHT = 0.3
SATURATED_WEIGHT = 0.3
BLOCK_SIDE = 4
SITES_PER_STEP = 8000
"""Of a larger surface each step sees random blocks: more sites take longer and teach less each."""

FAR_BLOCK_SHARE = 0.02
"""Share of blocks away from the surface that each step looks at, so that nothing grows there."""

GROWTH_CHECK_VISITS = 16
"""A look at the whole grid costs about as much as three steps."""

GROWTH_MARGIN = 0.2
"""Far vertices whose value comes this near to the wrong side are watched."""

Decode = Callable[[Tensor, Sequence[SurfaceSupport] | None], "Tensor | list[Tensor]"]


class GridSource(Protocol):
    """Target grids by index, channel last: distance, and three displacements where the codec stores them."""

    def __len__(self) -> int:
        """Return the number of grids."""

    def __getitem__(self, index: int) -> NDArray[np.float16]:
        """Return one grid, (K, K, K, 1 or 4) float16."""


class Supervision(Protocol):
    """Gives the distortion of some meshes of the set."""

    def distortion(self, decoder: Decode, latents: Tensor, ids: Sequence[int]) -> Tensor:
        """Return the mean distortion (scalar) of the meshes `ids` decoded from `latents`."""

    def state(self) -> dict[str, Tensor]:
        """Return what later steps depend on, for a checkpoint."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to what `state` returned."""


class NearSurfaceSupervision:
    """Mean absolute error in the truncation band; beyond it only the wrong side costs."""

    def __init__(self, grids: GridSource, device: torch.device, generator: torch.Generator) -> None:
        self._grids = grids
        self._device = device
        self._generator = generator
        self._near = [torch.from_numpy(_near_sites(grids[index])) for index in range(len(grids))]
        self._grown: dict[int, Tensor] = {}
        self._visits = [0] * len(grids)

    def state(self) -> dict[str, Tensor]:
        """Return the number of visits, and where something has grown in the wrong place."""
        grown = {str(index): sites for index, sites in self._grown.items()}
        return {"visits": torch.tensor(self._visits), **grown}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to what `state` returned."""
        self._visits = state["visits"].tolist()
        self._grown = {int(key): sites for key, sites in state.items() if key != "visits"}

    def distortion(self, decoder: Decode, latents: Tensor, ids: Sequence[int]) -> Tensor:
        """Return the mean distortion (scalar) of the meshes `ids`, 1 being two cells."""
        self._find_growths(decoder, latents, ids)
        supports = [SurfaceSupport.around(self._wanted(index)) for index in ids]
        outputs = decoder(latents, supports)
        losses = [
            self._one(output, support, index)
            for output, support, index in zip(outputs, supports, ids, strict=True)
        ]
        return torch.stack(losses).mean()

    def _find_growths(self, decoder: Decode, latents: Tensor, ids: Sequence[int]) -> None:
        """Every few visits look at a mesh's whole grid, and watch from then on what has grown there."""
        for row, index in enumerate(ids):
            self._visits[index] += 1
            if self._visits[index] % GROWTH_CHECK_VISITS:
                continue
            with torch.no_grad():
                grid = decoder(latents[row : row + 1], None)
            assert isinstance(grid, Tensor)
            target = torch.from_numpy(self._grids[index][..., 0].astype(np.float32)).to(self._device)
            wrong = (target.abs() >= SATURATED) & (grid[0, 0] * target < GROWTH_MARGIN)
            self._grown[index] = parents(wrong).cpu()

    def _wanted(self, index: int) -> Tensor:
        """Return the sites of this step: near ones, or random blocks of them, and random blocks elsewhere."""
        near = self._near[index].to(self._device)
        if index in self._grown:
            near = near | self._grown[index].to(self._device)
        draws = torch.rand((len(near) // BLOCK_SIDE) ** 3, generator=self._generator)
        kept = min(1.0, SITES_PER_STEP / max(1, int(near.sum())))
        far, chosen = (self._blocks(draws < share, len(near)) for share in (FAR_BLOCK_SHARE, kept))
        return (near & chosen) | far

    def _blocks(self, chosen: Tensor, side: int) -> Tensor:
        """Return the sites (side, side, side) of the chosen blocks."""
        blocks = side // BLOCK_SIDE
        sites = chosen.view(blocks, blocks, blocks).to(self._device)
        for axis in range(3):
            sites = sites.repeat_interleave(BLOCK_SIDE, axis)
        return sites

    def _one(self, output: Tensor, support: SurfaceSupport, index: int) -> Tensor:
        """Return the distortion of one mesh."""
        at = (2 * support.sites[:, None, :] + child_offsets(self._device)[None]).cpu().numpy()
        target_values = self._grids[index][at[..., 0], at[..., 1], at[..., 2]].astype(np.float32)
        target = torch.from_numpy(target_values).to(self._device)
        loss = band_loss(output[..., 0], target[..., 0])
        if target.shape[-1] > 1:
            # Displacements move the surface only where the grid crosses it, by a quarter of what values do.
            crossing = target[..., 0].abs() < CROSSING_BAND
            error = (output[..., 1:] - target[..., 1:]).abs().mean(-1)
            loss = loss + 0.25 * (error * crossing).sum() / crossing.sum().clamp_min(1)
        return loss


def band_loss(values: Tensor, target: Tensor) -> Tensor:
    """Return the weighted error of distances (any shape) per vertex of the inner band."""
    magnitude = target.abs()
    saturated = magnitude >= SATURATED
    error = torch.where(saturated, F.relu(1.0 - values * target.sign()), (values - target).abs())
    weight = torch.where(
        magnitude < CROSSING_BAND, 1.0, torch.where(saturated, SATURATED_WEIGHT, OUTER_BAND_WEIGHT)
    )
    return (error * weight).sum() / (magnitude < CROSSING_BAND).sum().clamp_min(1)


class DenseSupervision:
    """The paper's loss on the whole grid: MAE, masked MAE and SSIM (Eq. 3; weights from the settings).

    As in the released code the masked term sums the channels over the number of masked vertices, and SSIM is
    taken of the distances and of the displacements, mapped from [-1, 1] to [0, 1].
    """

    def __init__(self, grids: GridSource, device: torch.device, settings: MeshNecgsSettings) -> None:
        self._grids = grids
        self._device = device
        self._settings = settings

    def state(self) -> dict[str, Tensor]:
        """Return nothing: every step stands alone."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Do nothing: every step stands alone."""

    def distortion(self, decoder: Decode, latents: Tensor, ids: Sequence[int]) -> Tensor:
        """Return the mean loss (scalar) of the meshes `ids`."""
        stacked = np.stack([self._grids[index] for index in ids]).astype(np.float32)
        target = torch.from_numpy(stacked).to(self._device).permute(0, 4, 1, 2, 3)
        output = decoder(latents, None)
        assert isinstance(output, Tensor)
        error = (output - target).abs()
        mask = (target[:, :1].abs() < SATURATED).to(error.dtype)
        loss = error.mean() + self._settings.masked_weight * (error * mask).sum() / mask.sum().clamp_min(1)
        if self._settings.ssim_weight:
            groups = [slice(0, 1)] if target.shape[1] == 1 else [slice(0, 1), slice(1, 4)]
            for group in groups:
                similarity = structural_similarity((output[:, group] + 1) / 2, (target[:, group] + 1) / 2)
                loss = loss + self._settings.ssim_weight * (1.0 - similarity)
        if self._settings.feature_weight:
            loss = loss + self._settings.feature_weight * latents.abs().mean()
        return loss


def make_supervision(
    grids: GridSource, settings: MeshNecgsSettings, device: torch.device, generator: torch.Generator
) -> Supervision:
    """Return the supervision that the settings ask for."""
    if settings.supervision == "dense":
        return DenseSupervision(grids, device, settings)
    return NearSurfaceSupervision(grids, device, generator)


def _near_sites(grid: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Return (K/2, K/2, K/2) bool: sites with a child in the truncation band."""
    band = torch.from_numpy(np.abs(grid[..., 0]) < SATURATED)
    return parents(band).numpy()
