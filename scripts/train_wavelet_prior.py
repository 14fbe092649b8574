"""Trains a prior of the wavelet codec: the networks that sort coefficients into classes of like spread.

    python scripts/train_wavelet_prior.py --volume FILE [FILE ...] --out prior.npz

Learns from made volumes and from the given ones, whose licences are to be checked. All draws come from one
seed. About ten minutes and 3 GB on one core.

    coefficients, quantised with random steps --> what is known of each before it is coded
    networks with rounded weights and units   --> spread --> bits of a mixture of two Laplace models --> Adam

The networks are trained with the rounding that they have in `codecs/volume_wavelet/prior.py`; gradients pass
through it.
"""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scene_codec.codecs.volume_wavelet.neighbourhood import (
    PHASES,
    BandPhases,
    Magnitudes,
    feature_count,
    features,
    magnitudes,
)
from scene_codec.codecs.volume_wavelet.prior import CLASSES, HIDDEN, LEVELS, OUTPUT_ONE, WEIGHT_ONE, Prior
from scene_codec.codecs.volume_wavelet.quantiser import Quantiser
from scene_codec.codecs.volume_wavelet.syntax import LEVELS as WAVELET_LEVELS
from scene_codec.entropy.straight_through import round_straight_through
from scene_codec.volumes.lifting_wavelet import ORIENTATIONS, FloatArray, decompose
from scene_codec.volumes.procedural import procedural_volumes
from scene_codec.volumes.volume_files import load_volume

Key = tuple[str, int]

MADE_SIDE = 96
LARGEST_CROP = 128
STEPS_PER_VIEW = 3
FINEST_STEP, COARSEST_STEP = 10.0, 3.5
"""Quantisation steps are two to the minus these."""

UNIT = 16.0
"""Features and hidden units are sixteenths in training."""

BATCH = 1024
NETWORKS_AT_ONCE = 14
RATE, LAST_RATE = 3e-3, 1e-5
CLASSES_PER_OCTAVE = 4.0
LOWEST_OCTAVE = -3.0
ROUNDED_UP_FROM = 0.64


@dataclass(frozen=True)
class Examples:
    """Coefficients of one orientation and phase.

    features : (n, f) uint8; symbols : (n,) int32; levels : (n,) uint8; weights : (n,) float32
    """

    features: Tensor
    symbols: Tensor
    levels: Tensor
    weights: Tensor


def main() -> None:
    """Gather, train, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--volume", type=Path, nargs="*", default=[], metavar="FILE", help="real volumes")
    parser.add_argument("--made", type=int, default=40, help="number of made volumes")
    parser.add_argument("--steps", type=int, default=2400, help="steps of Adam")
    parser.add_argument("--examples", type=int, default=700, help="most examples of a phase from one view")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the model, .npz")
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    gathered = gather(volumes(options), options.examples, generator)
    networks = train(gathered, options.steps, options.seed)
    arrays = stored_arrays(networks)
    Prior(arrays)  # refuses weights that are too large
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    options.out.write_bytes(buffer.getvalue())
    print(options.out, options.out.stat().st_size, "bytes")


def volumes(options: argparse.Namespace) -> Iterator[tuple[str, FloatArray]]:
    """Yield volumes with values from 0 to 1."""
    yield from procedural_volumes(options.made, MADE_SIDE, options.seed + 1)
    for path in options.volume:
        for grid in load_volume(path).grids:
            for channel in range(grid.channels if grid.values.size else 0):
                own = grid.values[..., channel] if grid.values.ndim == 4 else grid.values
                wide = np.asarray(own, np.float64)
                if np.ptp(wide) > 0.0 and np.isfinite(wide).all():
                    yield f"{path.name} {grid.name}", ((wide - wide.min()) / np.ptp(wide)).astype(np.float32)


def gather(
    sources: Iterator[tuple[str, FloatArray]], most: int, generator: np.random.Generator
) -> dict[Key, Examples]:
    """Return examples of all volumes, each turned twice and quantised with several steps."""
    found: dict[Key, list[tuple[NDArray[np.generic], ...]]] = {}
    for name, values in sources:
        for _ in range(2):
            turned = cropped(values.transpose(generator.permutation(3)), generator)
            for _ in range(STEPS_PER_VIEW):
                step = 2.0 ** -generator.uniform(COARSEST_STEP, FINEST_STEP)
                for key, level, rows, symbols in phases_of(turned, step):
                    found.setdefault(key, []).extend(chosen(rows, symbols, level, most, generator))
        print("gathered", name, flush=True)
    return {
        key: Examples(*(torch.from_numpy(np.concatenate(parts)) for parts in zip(*own, strict=True)))
        for key, own in found.items()
    }


def cropped(values: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Return a random part of a large volume."""
    corner = [int(generator.integers(0, max(1, side - LARGEST_CROP + 1))) for side in values.shape]
    x, y, z = (slice(start, start + LARGEST_CROP) for start in corner)
    return np.ascontiguousarray(values[x, y, z])


def phases_of(
    values: FloatArray, step: float
) -> Iterator[tuple[Key, int, NDArray[np.uint8], NDArray[np.int32]]]:
    """Yield what is known of the positions of each phase, and their symbols, in coding order."""
    details = Quantiser(step).symbols(decompose(values, WAVELET_LEVELS)).details
    parents: dict[str, Magnitudes] = {}
    for level in range(len(details) - 1, -1, -1):
        bands: dict[str, BandPhases] = {}
        for orientation in ORIENTATIONS:
            if orientation not in details[level]:
                continue
            band = details[level][orientation]
            x, y, z = band.shape
            bands[orientation] = BandPhases((x, y, z))
            for index, phase in enumerate(PHASES):
                at = tuple(slice(start, None, 2) for start in phase)
                if band[at].size:
                    rows = features(orientation, index, bands, parents.get(orientation))
                    yield (orientation, index), level, rows, band[at].reshape(-1)
                    bands[orientation].put(phase, magnitudes(band[at]))
        parents = {orientation: band.as_parent() for orientation, band in bands.items()}


def chosen(
    rows: NDArray[np.uint8],
    symbols: NDArray[np.int32],
    level: int,
    most: int,
    generator: np.random.Generator,
) -> list[tuple[NDArray[np.generic], ...]]:
    """Return a random part of a phase, few of the positions where nothing is, weighted to make up for it."""
    something = (rows.any(axis=0)) | (symbols != 0)
    parts: list[tuple[NDArray[np.generic], ...]] = []
    for places, count in ((np.flatnonzero(something), most), (np.flatnonzero(~something), most // 8)):
        picked = generator.choice(places, min(count, len(places)), replace=False)
        weight = min(len(places) / max(len(picked), 1), 20.0)
        parts.append(
            (
                np.ascontiguousarray(rows[:, picked].T),
                symbols[picked],
                np.full(len(picked), level, np.uint8),
                np.full(len(picked), weight, np.float32),
            )
        )
    return parts


class SpreadNetwork(nn.Module):
    """The network of one orientation and phase, in sixteenths; see `prior.py` for the integers."""

    def __init__(self, inputs: int, generator: torch.Generator) -> None:
        super().__init__()

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator)

        self.first = nn.Parameter(0.3 * normal(HIDDEN, inputs) / math.sqrt(inputs) + 0.5 / inputs)
        self.first_bias = nn.Parameter(0.5 * uniform(LEVELS, HIDDEN))
        self.second = nn.Parameter(0.7 * normal(HIDDEN, HIDDEN) / math.sqrt(HIDDEN))
        self.second_bias = nn.Parameter(0.5 * uniform(HIDDEN))
        self.last = nn.Parameter(4.0 * uniform(1, HIDDEN) / HIDDEN)
        self.skip = nn.Parameter(torch.full((1, inputs), UNIT / inputs))
        self.last_bias = nn.Parameter(torch.full((1,), 6.0))

    def forward(self, rows: Tensor, levels: Tensor) -> Tensor:
        """Return the class, a real number, of positions with features (n, f)."""
        known = rows.float() / UNIT
        bias = rounded_bias(self.first_bias)[levels.long().clamp_max(LEVELS - 1)]
        hidden = activated(known @ rounded_weights(self.first).T + bias)
        hidden = activated(hidden @ rounded_weights(self.second).T + rounded_bias(self.second_bias))
        output = hidden @ rounded_weights(self.last).T + known @ rounded_weights(self.skip).T
        return (output + rounded_bias(self.last_bias))[:, 0]


def rounded_weights(weights: Tensor) -> Tensor:
    """Return weights as they are stored."""
    return round_straight_through((weights * WEIGHT_ONE).clamp(-127, 127)) / WEIGHT_ONE


def rounded_bias(bias: Tensor) -> Tensor:
    """Return biases as they are stored."""
    return round_straight_through(bias * OUTPUT_ONE) / OUTPUT_ONE


def activated(sums: Tensor) -> Tensor:
    """Return hidden units: clamped and rounded half up."""
    clamped = sums.clamp(0.0, 127.0 / UNIT)
    exact = torch.floor(clamped * UNIT + 0.5) / UNIT
    return (clamped + (exact - clamped).detach()).clamp(0.0, 127.0 / UNIT)


class LaplaceMixture(nn.Module):
    """Bits of symbols whose classes are known: two Laplace models, one wider, behind the dead zone."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.0))
        self.log_ratio = nn.Parameter(torch.tensor(1.0))

    def forward(self, symbols: Tensor, classes: Tensor) -> Tensor:
        """Return the bits of each symbol."""
        scale = 2.0 ** (classes.clamp(0.0, CLASSES - 2.0) / CLASSES_PER_OCTAVE + LOWEST_OCTAVE)
        share = torch.sigmoid(self.share)
        narrow, wide = (laplace(symbols, own) for own in (scale, scale * self.log_ratio.exp()))
        return -torch.log2((share * narrow + (1.0 - share) * wide).clamp_min(1e-9))


def laplace(symbols: Tensor, scale: Tensor) -> Tensor:
    """Return the probabilities of symbols that were rounded with a wider zero."""
    magnitude = symbols.abs().float()
    zero = 1.0 - torch.exp(-ROUNDED_UP_FROM / scale)
    tail = torch.exp(-(magnitude - 1.0 + ROUNDED_UP_FROM) / scale)
    return torch.where(symbols == 0, zero, 0.5 * tail * (1.0 - torch.exp(-1.0 / scale)))


def train(gathered: dict[Key, Examples], steps: int, seed: int) -> dict[Key, SpreadNetwork]:
    """Return networks trained together, a few at each step."""
    generator = torch.Generator().manual_seed(seed)
    keys: Sequence[Key] = [(name, phase) for name in ORIENTATIONS for phase in range(len(PHASES))]
    networks = {key: SpreadNetwork(feature_count(*key), generator) for key in keys}
    mixture = LaplaceMixture()
    parameters = [*mixture.parameters(), *(own for net in networks.values() for own in net.parameters())]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    for step in range(steps):
        rate = RATE * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + LAST_RATE
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        total = 0.0
        for place in torch.randperm(len(keys), generator=generator)[:NETWORKS_AT_ONCE].tolist():
            loss = loss_of(networks[keys[place]], mixture, gathered[keys[place]], generator)
            loss.backward()
            total += float(loss.detach())
        optimiser.step()
        if step % 200 == 0:
            print(step, f"{total / NETWORKS_AT_ONCE:.4f}", flush=True)
    return networks


def loss_of(
    network: SpreadNetwork, mixture: LaplaceMixture, examples: Examples, generator: torch.Generator
) -> Tensor:
    """Return the mean bits of a batch; noise on the classes stands for their rounding."""
    batch = torch.randint(0, len(examples.symbols), (BATCH,), generator=generator)
    classes = network(examples.features[batch], examples.levels[batch])
    classes = classes + 0.5 * (torch.rand(BATCH, generator=generator) - 0.5)
    outside = torch.relu(-classes).mean() + torch.relu(classes - (CLASSES - 2)).mean()
    bits = mixture(examples.symbols[batch], classes)
    return (bits * examples.weights[batch]).mean() + 0.1 * outside


def stored_arrays(networks: dict[Key, SpreadNetwork]) -> dict[str, NDArray[np.generic]]:
    """Return the integers of a model file."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for (name, phase), network in networks.items():
        for part, value in network.named_parameters():
            numbers = value.detach().numpy().astype(np.float64)
            if part.endswith("bias"):
                arrays[f"{name}{phase}{part}"] = np.rint(numbers * OUTPUT_ONE).astype(np.int32)
            else:
                whole = np.rint(numbers * WEIGHT_ONE).clip(-127, 127)
                arrays[f"{name}{phase}{part}"] = whole.astype(np.int8)
    return arrays


if __name__ == "__main__":
    main()
