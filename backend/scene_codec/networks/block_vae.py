r"""Networks that turn blocks of voxels into latents and back.

`DenseBlockVae` is the published one (M. Bevec, Neural volume compression, 2023). `RateBlockCoder` is ours:

```text
block - mean, in quantisation steps
   |-- cosine transform, then learned --+-- latents -- round --|-- inverse, then learned --+-- block - mean
   '-- low rank, LeakyReLU, low rank ---'                      '-- low rank, LeakyReLU ----'
```

It has no biases and LeakyReLU is positively homogeneous, so that a block twice as bright has latents twice as
large: one network serves every quality, chosen by the unit in which blocks are given. It starts at the cosine
transform, with which it shares its worst case: a narrow bottleneck is what caps the published network's PSNR.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from scene_codec.entropy.straight_through import LearnedStep

CORE_SIDE = 8
CORE_VOXELS = CORE_SIDE**3
NEGATIVE_SLOPE = 0.01
MAX_COSINES = CORE_VOXELS - 1
"""Latents of the rate-optimised network: all cosines but the constant, whose place the mean takes."""

NetworkKind = Literal["dense", "rate"]


@dataclass(frozen=True)
class BlockNetworkShape:
    """Sizes of a block network.

    margin : voxels beyond the 8 x 8 x 8 core that it sees and predicts, 0 to 2
    latents : numbers per block
    hidden : width of the hidden layers
    """

    kind: NetworkKind
    margin: int
    latents: int
    hidden: int

    @property
    def voxels(self) -> int:
        """Voxels of a block with its margins."""
        return (CORE_SIDE + 2 * self.margin) ** 3


class DenseBlockVae(nn.Module):
    """The published network: one hidden layer on either side, LeakyReLU, a sigmoid at the end.

    The loss is the squared error alone, with noise of a learned variance on the latents and no KL term, as in
    the released code; blocks are values in [0, 1], (n, voxels).
    """

    def __init__(self, shape: BlockNetworkShape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.encoder_hidden = nn.Linear(shape.voxels, shape.hidden)
        self.mean = nn.Linear(shape.hidden, shape.latents)
        self.log_variance = nn.Linear(shape.hidden, shape.latents)
        self.decoder_hidden = nn.Linear(shape.latents, shape.hidden)
        self.decoder_output = nn.Linear(shape.hidden, shape.voxels)
        _initialise(self, generator)

    def analyse(self, blocks: Tensor) -> Tensor:
        """Return the latents (n, latents) of blocks, the means of their distributions."""
        latents: Tensor = self.mean(self._encoded(blocks))
        return latents

    def synthesise(self, latents: Tensor) -> Tensor:
        """Return the blocks (n, voxels) in [0, 1] that latents stand for."""
        hidden = F.leaky_relu(self.decoder_hidden(latents), NEGATIVE_SLOPE)
        blocks: Tensor = self.decoder_output(hidden).sigmoid()
        return blocks

    def forward(self, blocks: Tensor, generator: torch.Generator) -> Tensor:
        """Return blocks decoded from latents with noise, as in training."""
        hidden = self._encoded(blocks)
        deviation = (0.5 * self.log_variance(hidden)).exp()
        noise = torch.randn(deviation.shape, generator=generator, device=generator.device)
        return self.synthesise(self.mean(hidden) + noise.to(deviation.device) * deviation)

    def _encoded(self, blocks: Tensor) -> Tensor:
        return F.leaky_relu(self.encoder_hidden(blocks), NEGATIVE_SLOPE)


class RateBlockCoder(nn.Module):
    """Our network: a learned transform without a bottleneck, homogeneous, trained against the rate.

    Blocks (n, voxels) have the mean of their core subtracted and are given in quantisation steps; one step of
    the cosine transform's orthonormal coefficients is 1.
    """

    def __init__(self, shape: BlockNetworkShape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if not 1 <= shape.latents <= MAX_COSINES:
            raise ValueError(f"{shape.latents} latents are not between 1 and {MAX_COSINES}")
        self.shape = shape
        self.analysis = nn.Linear(shape.voxels, shape.latents, bias=False)
        self.analysis_hidden = nn.Linear(shape.voxels, shape.hidden, bias=False)
        self.analysis_output = nn.Linear(shape.hidden, shape.latents, bias=False)
        self.synthesis = nn.Linear(shape.latents, shape.voxels, bias=False)
        self.synthesis_hidden = nn.Linear(shape.latents, shape.hidden, bias=False)
        self.synthesis_output = nn.Linear(shape.hidden, shape.voxels, bias=False)
        self.step = LearnedStep(shape.latents, 1.0)
        _initialise(self, generator)
        self._start_as_cosine_transform()

    def _start_as_cosine_transform(self) -> None:
        with torch.no_grad():
            inner, extended = cosine_bases(self.shape)
            self.analysis.weight.copy_(torch.from_numpy(inner))
            self.synthesis.weight.copy_(torch.from_numpy(extended.T.copy()))
            nn.init.zeros_(self.analysis_output.weight)
            nn.init.zeros_(self.synthesis_output.weight)

    def analyse(self, blocks: Tensor) -> Tensor:
        """Return the latents (n, latents) of blocks, in steps, not rounded."""
        hidden = F.leaky_relu(self.analysis_hidden(blocks), NEGATIVE_SLOPE)
        return self.step.in_steps(self.analysis(blocks) + self.analysis_output(hidden))

    def synthesise(self, latents: Tensor) -> Tensor:
        """Return the blocks (n, voxels) that latents, in steps, stand for."""
        values = latents * self.step.log2_step.exp2()
        hidden = F.leaky_relu(self.synthesis_hidden(values), NEGATIVE_SLOPE)
        blocks: Tensor = self.synthesis(values) + self.synthesis_output(hidden)
        return blocks


BlockNetwork = DenseBlockVae | RateBlockCoder


def make_network(shape: BlockNetworkShape, generator: torch.Generator | None = None) -> BlockNetwork:
    """Return a network of a shape with fresh parameters, drawn from `generator`."""
    return (DenseBlockVae if shape.kind == "dense" else RateBlockCoder)(shape, generator)


def cosine_bases(shape: BlockNetworkShape) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the lowest cosines of a core, once with zeros in the margins and once continued into them.

    Both are (latents, voxels); the first takes a block's coefficients, the second adds the block up again.
    The constant is left out; the order is that of rising frequency.
    """
    position = np.arange(CORE_SIDE + 2 * shape.margin) - shape.margin
    frequency = np.arange(CORE_SIDE)
    waves = np.cos(np.pi / CORE_SIDE * (position + 0.5) * frequency[:, None])
    waves *= np.where(frequency == 0, math.sqrt(1 / CORE_SIDE), math.sqrt(2 / CORE_SIDE))[:, None]
    order = np.stack(np.meshgrid(frequency, frequency, frequency, indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = order[np.argsort((order**2).sum(axis=1), kind="stable")][1 : shape.latents + 1]
    inside = waves * ((position >= 0) & (position < CORE_SIDE))
    inner, extended = (
        np.einsum("kx,ky,kz->kxyz", *(factor[chosen[:, axis]] for axis in range(3)))
        for factor in (inside, waves)
    )
    count = len(chosen)
    return inner.reshape(count, -1).astype(np.float32), extended.reshape(count, -1).astype(np.float32)


def _initialise(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw all layers from `generator`, with torch's usual ranges for linear layers."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = 1.0 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
