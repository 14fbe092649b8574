"""Trained radiance fields as files that other programs read: the layout of yenchenlin/nerf-pytorch (.tar)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from scene_codec.bitstream.atomic_file import open_atomically
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.radiance.stored_domain import DOMAIN_KEY

_SINGLE_NAMES = {"bottleneck": "feature_linear", "density": "alpha_linear", "colour": "rgb_linear"}


def write_checkpoint(
    path: Path,
    networks: tuple[RadianceMlp | None, RadianceMlp],
    domain: SceneDomain,
    step: int,
    optimiser: torch.optim.Optimizer | None = None,
) -> None:
    """Write a checkpoint in one step.

    networks : coarse and fine, of the published wiring: with a bottleneck, and a ReLU behind all layers of
        the trunk and none behind the bottleneck. A network without a coarse one is stored as the first, as
        programs that sample each ray once expect it.
    optimiser : of `ordered_parameters`
    """
    present = [network for network in networks if network is not None]
    for network in present:
        if network.shape.linear or network.shape.bottleneck_relu or not network.shape.bottleneck:
            raise ValueError("a network that is wired unlike the published one has no place in this layout")
    content = {
        "global_step": step,
        "network_fn_state_dict": _published_names(present[0]),
        "network_fine_state_dict": _published_names(present[1]) if len(present) == 2 else None,
        "optimizer_state_dict": _on_cpu(optimiser.state_dict()) if optimiser else {},
        DOMAIN_KEY: dataclasses.asdict(domain),
    }
    with open_atomically(path) as stream:
        torch.save(content, stream)


def ordered_parameters(networks: Sequence[RadianceMlp | None]) -> list[Tensor]:
    """Return all parameters in the order in which that program gives them to its optimiser."""
    parameters: list[Tensor] = []
    for network in networks:
        if network is not None:
            layers = network.linear_layers()
            for ours in _published_layers(network):
                parameters += [layers[ours].weight, layers[ours].bias]
    return parameters


def _published_layers(network: RadianceMlp) -> dict[str, str]:
    """Return what the layers are called there, in that program's order, by our names."""
    names = {f"trunk.{index}": f"pts_linears.{index}" for index in range(len(network.trunk))}
    names |= {f"view.{index}": f"views_linears.{index}" for index in range(len(network.view))}
    return names | _SINGLE_NAMES


def _published_names(network: RadianceMlp) -> dict[str, Tensor]:
    layers = network.linear_layers()
    state: dict[str, Tensor] = {}
    for ours, theirs in _published_layers(network).items():
        state[f"{theirs}.weight"] = layers[ours].weight.detach().cpu().clone()
        state[f"{theirs}.bias"] = layers[ours].bias.detach().cpu().clone()
    return state


def _on_cpu(state: dict[str, object]) -> dict[str, object]:
    """Return an optimiser's state with its tensors in main memory, so that any machine reads it."""
    moved: dict[object, object] = {}
    entries = state["state"]
    assert isinstance(entries, dict)
    for index, values in entries.items():
        moved[index] = {
            name: value.cpu() if isinstance(value, Tensor) else value for name, value in values.items()
        }
    return {**state, "state": moved}
