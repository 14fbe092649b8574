"""Reads the models that the paper's author published (`weights/*.pt` of its repository)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from scene_codec.codecs.volume_vae.model import MAX_MODEL_BYTES, BlockModel, ModelCard, pack_model, read_model
from scene_codec.errors import UnsupportedSceneError
from scene_codec.networks.block_vae import CORE_SIDE, BlockNetworkShape, DenseBlockVae
from scene_codec.volumes.blocks import MAX_MARGIN

_LAYERS = {
    "encoder.0": "encoder_hidden",
    "fc_mu": "mean",
    "fc_var": "log_variance",
    "decoder.0": "decoder_hidden",
    "decoder.2": "decoder_output",
}
"""Layers of the published state, and ours."""


def read_published_weights(path: Path) -> BlockModel:
    """Return a published model, its numbers unchanged.

    The published blocks run z, y, x; the weights are transposed once, so that ours run x, y, z.
    Raises `UnsupportedSceneError` for any other file.
    """
    refusal = f"'{path}' does not hold a published block VAE"
    if not path.is_file() or path.stat().st_size > MAX_MODEL_BYTES:
        raise UnsupportedSceneError(f"{refusal}: no such file, or larger than {MAX_MODEL_BYTES} bytes.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its reader of foreign files happens to meet
        raise UnsupportedSceneError(f"{refusal}: torch cannot read it.") from error
    shape, state = _checked(content, refusal)
    network = DenseBlockVae(shape, torch.Generator().manual_seed(0))
    side = CORE_SIDE + 2 * shape.margin
    own: dict[str, Tensor] = network.state_dict()
    for theirs, ours in _LAYERS.items():
        for kind in ("weight", "bias"):
            values = state.get(f"{theirs}.{kind}")
            if not isinstance(values, Tensor) or values.shape != own[f"{ours}.{kind}"].shape:
                raise UnsupportedSceneError(f"{refusal}: its {theirs}.{kind} is missing or of another size.")
            own[f"{ours}.{kind}"].copy_(_transposed(values, side))
    card = ModelCard(name=path.stem, note="published with the paper")
    return read_model(pack_model(network, card, precision="float32"))


def _checked(content: object, refusal: str) -> tuple[BlockNetworkShape, Mapping[str, object]]:
    """Return the sizes and the tensors of what torch has read."""
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), Mapping):
        raise UnsupportedSceneError(f"{refusal}: it has no state_dict.")
    sides, latents, hidden = (content.get(key) for key in ("in_shape", "latent_dim", "hidden_dims"))
    allowed = [[CORE_SIDE + 2 * margin] * 3 for margin in range(MAX_MARGIN + 1)]
    if not isinstance(sides, list | tuple) or list(sides) not in allowed:
        raise UnsupportedSceneError(f"{refusal}: blocks of {sides}, not of 8, 10 or 12 voxels cubed.")
    if not isinstance(hidden, list) or len(hidden) != 1 or not isinstance(hidden[0], int):
        raise UnsupportedSceneError(f"{refusal}: hidden layers {hidden} in place of one.")
    if not isinstance(latents, int) or not (1 <= latents <= 1024 and 1 <= hidden[0] <= 4096):
        raise UnsupportedSceneError(f"{refusal}: {latents} latents, {hidden} hidden.")
    margin = (int(sides[0]) - CORE_SIDE) // 2
    return BlockNetworkShape("dense", margin, latents, hidden[0]), content["state_dict"]


def _transposed(values: Tensor, side: int) -> Tensor:
    """Return a layer's parameter with the axes of blocks reversed on the side where it has them."""
    voxels = side**3
    if values.shape[-1] == voxels and values.ndim == 2:
        return values.reshape(-1, side, side, side).permute(0, 3, 2, 1).reshape(-1, voxels)
    if values.shape[0] == voxels:
        return values.reshape(side, side, side, -1).permute(2, 1, 0, 3).reshape(values.shape)
    return values
