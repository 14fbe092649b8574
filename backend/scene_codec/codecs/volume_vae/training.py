r"""Training of block networks, ours and the published one.

```text
published:  blocks -> latents + noise of a learned width -> blocks          squared error
ours:       (block - mean) / step -> latents -- round --> block             squared error + weight * bits
                                        \-- noise --> bits
```

Our network draws another quantisation step for every block, so that one network learns all qualities; errors
are counted in squared steps, which is the unit in which a bit has the same price at every quality.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.codecs.volume_vae.block_maps import CLASS_COUNT
from scene_codec.codecs.volume_vae.config import TrainingSettings
from scene_codec.codecs.volume_vae.model import ModelCard, pack_model
from scene_codec.codecs.volume_vae.rate_coding import RateCoding, fit_contexts
from scene_codec.codecs.volume_vae.rate_loss import LatentWidths, RateLoss, scaled
from scene_codec.codecs.volume_vae.training_blocks import TrainingBlocks, TrainingVolume
from scene_codec.errors import InvalidRequestError
from scene_codec.networks.block_vae import BlockNetworkShape, DenseBlockVae, RateBlockCoder, make_network
from scene_codec.progress import Progress

LOSS = "loss 2"
"""Part of what checkpoints are told apart by: a training does not go on with the loss of another release."""

CHECKPOINT_INTERVAL_S = 60.0
MEASURED_BLOCKS = 2048
"""Validation blocks that are measured, the same ones each time."""

MEASUREMENTS = 100
"""How often in a training the validation blocks are measured."""

CALIBRATION_BLOCKS = 8192
CALIBRATION_STEPS = 6
LARGEST_GRADIENT = 1.0
WIDTHS_RATE = 10.0
"""Widths of latents are learned this much faster than the network: they have to follow it."""


@dataclass(frozen=True)
class TrainingPoint:
    """How training stands: mean loss of the steps since the last point, and loss of blocks it never sees."""

    step: int
    steps: int
    training_loss: float
    validation_loss: float


Observer = Callable[[Sequence[TrainingPoint]], None]


@dataclass(frozen=True)
class TrainingRun:
    """Where a training keeps what a later run goes on from, whom it shows its losses, where it computes."""

    checkpoint: Path | None = None
    observer: Observer | None = None
    device: str = "cpu"


def train_block_vae(
    volumes: Sequence[TrainingVolume],
    settings: TrainingSettings,
    card: ModelCard,
    progress: Progress,
    run: TrainingRun | None = None,
) -> bytes:
    """Return the bytes of a model trained on volumes; see `model.read_model`.

    The same volumes, settings and machine give the same bytes, also when the run was stopped and continued.
    Raises `UnsupportedSceneError` when the volumes hold nothing, `InvalidRequestError` for the checkpoint of
    another training, `Cancelled`, leaving a checkpoint.
    """
    blocks = TrainingBlocks(volumes, settings.margin, progress.part(0.0, 0.05, "reading"))
    trainer = Trainer(blocks, settings, TrainingRun() if run is None else run)
    trainer.run(progress.part(0.05, 0.98, "training"))
    data = trainer.packed(msgspec.structs.replace(card, steps=trainer.steps))
    progress.update(1.0)
    return data


class Trainer:
    """The steps of one training; can be stopped and continued from a checkpoint with the same result."""

    def __init__(self, blocks: TrainingBlocks, settings: TrainingSettings, run: TrainingRun) -> None:
        self._blocks = blocks
        self._settings = settings
        self._run = run
        self._purpose = f"{LOSS} {settings} {blocks.description}"
        self._numpy = np.random.default_rng(settings.seed)
        self._torch = torch.Generator().manual_seed(settings.seed)
        shape = BlockNetworkShape(settings.network, settings.margin, settings.latents, settings.hidden)
        self.network = make_network(shape, self._torch).to(run.device)
        self._training, validation = split_blocks(blocks, settings)
        measured = self._numpy.permutation(validation)[:MEASURED_BLOCKS]
        self._validation = self._tensor(blocks.take(np.sort(measured)))
        self._rate_loss = self._make_rate_loss()
        self._optimiser = self._make_optimiser()
        self._order = np.zeros(0, np.int64)
        self._step = 0
        batches = -(-len(self._training) // settings.batch_size)
        self.steps = max(settings.epochs * batches, settings.minimum_steps)
        self.points: list[TrainingPoint] = []

    def run(self, progress: Progress) -> None:
        """Do all remaining steps. Raises `Cancelled`, leaving a checkpoint from which another run goes on."""
        checkpoint = self._run.checkpoint
        if checkpoint is not None and checkpoint.exists():
            self._restore(checkpoint)
            progress = progress.resumed(self._step / self.steps)
        saved = time.monotonic()
        losses: list[float] = []
        try:
            while self._step < self.steps:
                losses.append(self._do_step())
                self._step += 1
                if self._step == self.steps or self._step % max(1, self.steps // MEASUREMENTS) == 0:
                    # The mean: a single step's loss says more of its blocks than of the network.
                    self._measure(sum(losses) / len(losses))
                    losses.clear()
                progress.update(self._step / self.steps, self._standing())
                if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_INTERVAL_S:
                    self._save(checkpoint)
                    saved = time.monotonic()
        except BaseException:
            if checkpoint is not None and self._step:
                self._save(checkpoint)
            raise

    def _standing(self) -> str:
        """Return in words how far training is."""
        words = f"step {self._step:,} of {self.steps:,}"
        if not self.points:
            return words
        latest = self.points[-1]
        return f"{words}, loss {latest.training_loss:.4g}, {latest.validation_loss:.4g} on what was kept out"

    def packed(self, card: ModelCard) -> bytes:
        """Return the bytes of the model as it stands."""
        network = self.network.cpu()
        contexts = fit_contexts(self._quantised(network)) if isinstance(network, RateBlockCoder) else None
        return pack_model(network, card, contexts)

    def _do_step(self) -> float:
        """Take one optimisation step; return its loss."""
        part = self._step / self.steps
        rate = 0.5 + 0.5 * math.cos(math.pi * part) if self._settings.decay else 1.0
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.learning_rate * rate * group["relative_rate"]
        loss = self._loss(self._next_blocks(), self._torch)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if isinstance(self.network, RateBlockCoder):
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self._optimiser.step()
        return float(loss.detach())

    def _loss(self, blocks: Tensor, generator: torch.Generator) -> Tensor:
        if isinstance(self.network, DenseBlockVae):
            flat = blocks.flatten(1)
            return F.mse_loss(self.network(flat, generator), flat)
        assert self._rate_loss is not None
        low, high = math.log2(self._settings.finest_step), math.log2(self._settings.coarsest_step)
        drawn = torch.rand((len(blocks), 1), generator=generator).to(blocks.device)
        loss: Tensor = self._rate_loss(
            self.network, scaled(blocks, (low + (high - low) * drawn).exp2()), generator
        )
        return loss

    def _next_blocks(self) -> Tensor:
        """Return the blocks of the next step: a new shuffle whenever all have had their turn."""
        size = self._settings.batch_size
        while len(self._order) < size:
            self._order = np.concatenate([self._order, self._numpy.permutation(self._training)])
        numbers, self._order = self._order[:size], self._order[size:]
        if not self._settings.augment:
            return self._tensor(self._blocks.take(numbers))
        blocks = self._blocks.take(numbers, self._numpy)
        axes = 1 + self._numpy.permutation(3)
        mirrored = tuple(int(axis) for axis in axes if self._numpy.random() < 0.5)
        return self._tensor(np.flip(blocks.transpose(0, *axes), mirrored).copy())

    def _measure(self, loss: float) -> None:
        """Measure the validation blocks, with the same random draws each time."""
        with torch.no_grad():
            measured = float(self._loss(self._validation, torch.Generator().manual_seed(1)))
        self.points.append(TrainingPoint(self._step, self.steps, loss, measured))
        if self._run.observer is not None:
            self._run.observer(self.points)

    def _make_rate_loss(self) -> RateLoss | None:
        """Return the loss of our network, None for the published one."""
        if not isinstance(self.network, RateBlockCoder):
            return None
        widths = LatentWidths(self._quantised(self.network))
        return RateLoss(widths, self._settings.margin, self._settings.rate_weight).to(self._run.device)

    def _make_optimiser(self) -> torch.optim.Adam:
        groups = [{"params": list(self.network.parameters()), "relative_rate": 1.0}]
        if self._rate_loss is not None:
            groups.append({"params": list(self._rate_loss.parameters()), "relative_rate": WIDTHS_RATE})
        return torch.optim.Adam(groups, lr=self._settings.learning_rate)

    def _quantised(self, network: RateBlockCoder) -> NDArray[np.int32]:
        """Return the latents (n, latents) of some training blocks over the range of steps."""
        numbers = np.random.default_rng(self._settings.seed).permutation(self._training)[:CALIBRATION_BLOCKS]
        flat = self._blocks.take(np.sort(numbers)).reshape(len(numbers), -1)
        nothing = np.zeros((CLASS_COUNT, self._settings.latents), np.uint8)
        steps = np.geomspace(self._settings.finest_step, self._settings.coarsest_step, CALIBRATION_STEPS)
        parts = [RateCoding(network, nothing, float(step)).quantised(flat)[1] for step in steps]
        return np.concatenate(parts)

    def _tensor(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(self._run.device)

    def _save(self, path: Path) -> None:
        """Write everything that the next step depends on."""
        state = {
            "network": self.network.state_dict(),
            "widths": {} if self._rate_loss is None else self._rate_loss.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "torch": self._torch.get_state(),
            "numpy": _generator_words(self._numpy),
            "order": torch.from_numpy(self._order),
            "step": self._step,
            "purpose": self._purpose,
            "points": [(p.step, p.steps, p.training_loss, p.validation_loss) for p in self.points],
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(path)

    def _restore(self, path: Path) -> None:
        """Go back to what `_save` wrote."""
        try:
            state = torch.load(path, weights_only=True)
        except Exception as error:  # torch raises whatever its reader of foreign files happens to meet
            raise InvalidRequestError(f"'{path}' is no checkpoint. Delete or rename it.") from error
        if not isinstance(state, dict) or state.get("purpose") != self._purpose:
            raise InvalidRequestError(
                f"The checkpoint '{path}' belongs to a training with other volumes or settings. Give the "
                "same ones to go on with it, or delete it to start again."
            )
        self.network.load_state_dict(state["network"])
        if self._rate_loss is not None:
            self._rate_loss.load_state_dict(state["widths"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._torch.set_state(state["torch"])
        _set_generator_words(self._numpy, state["numpy"])
        self._order, self._step = state["order"].numpy(), state["step"]
        self.points = [TrainingPoint(*point) for point in state["points"]]


def split_blocks(
    blocks: TrainingBlocks, settings: TrainingSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of training and of validation blocks: whole volumes, of a single one its blocks."""
    generator = np.random.default_rng([settings.seed, 1])
    numbers = np.arange(len(blocks))
    owners = blocks.volume_of(numbers)
    volumes = generator.permutation(np.unique(owners))
    if len(volumes) > 1:
        kept_out = (
            volumes[: max(1, round(settings.validation * len(volumes)))]
            if settings.validation
            else volumes[:0]
        )
        outside = np.isin(owners, kept_out)
    else:
        outside = generator.random(len(numbers)) < settings.validation
    training, validation = numbers[~outside], numbers[outside]
    return (training, validation) if len(validation) and len(training) else (numbers, numbers)


def _generator_words(generator: np.random.Generator) -> dict[str, str]:
    """Return the state of a numpy generator; its integers are too large for tensors."""
    state = generator.bit_generator.state
    words = {**state["state"], "has_uint32": state["has_uint32"], "uinteger": state["uinteger"]}
    return {key: str(value) for key, value in words.items()}


def _set_generator_words(generator: np.random.Generator, words: dict[str, str]) -> None:
    numbers = {key: int(value) for key, value in words.items()}
    state = dict(generator.bit_generator.state)
    state["state"] = {"state": numbers["state"], "inc": numbers["inc"]}
    generator.bit_generator.state = {
        **state,
        "has_uint32": numbers["has_uint32"],
        "uinteger": numbers["uinteger"],
    }
