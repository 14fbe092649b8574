"""Checkpoints of the two ports to torch: yenchenlin/nerf-pytorch (.tar) and krrish94/nerf-pytorch (.ckpt)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from scene_codec.radiance.restricted_pickle import as_mapping, is_count
from scene_codec.radiance.stored_domain import DOMAIN_KEY, stored_domain
from scene_codec.radiance.stored_layers import (
    StoredLayer,
    StoredNetwork,
    StoredPair,
    network_of,
    stored_layer,
    unexpected,
    without_directions,
)
from scene_codec.radiance.torch_archive import TorchArchive, read_torch_archive

TorchLayout = Literal["yenchenlin", "krrish94"]

_Layers = dict[str, StoredLayer]

_LARGEST_STEP = 1 << 53
_MOST_TENSORS = 300


def load_torch_pair(path: Path) -> tuple[TorchLayout, StoredPair]:
    """Return the layout of a file of `torch.save` and its networks.

    Raises `UnsupportedSceneError` for another layout, and plain exceptions for damaged files.
    """
    archive = read_torch_archive(path)
    if "network_fn_state_dict" in archive.root:
        return "yenchenlin", _pair(
            path,
            archive,
            ("network_fn_state_dict", "network_fine_state_dict", "global_step"),
            _yenchenlin_network,
        )
    if "model_coarse_state_dict" in archive.root:
        return "krrish94", _pair(
            path, archive, ("model_coarse_state_dict", "model_fine_state_dict", "iter"), _krrish94_network
        )
    names = [str(key)[:40].encode("ascii", "replace").decode() for key in [*archive.root][:8]]
    raise unexpected(path, f"holds {', '.join(names) or 'nothing'} and no networks of a known name")


def _pair(
    path: Path,
    archive: TorchArchive,
    keys: tuple[str, str, str],
    network: Callable[[Path, _Layers], StoredNetwork],
) -> StoredPair:
    """Return the networks under the first two keys; a coarse one alone is the fine one."""
    networks = [
        network_of(path, network(path, _read_layers(path, archive, key)))
        for key in keys[:2]
        if archive.root.get(key) is not None
    ]
    if not networks:
        raise unexpected(path, f"holds no network under {keys[0]}")
    step = archive.root.get(keys[2])
    return StoredPair(
        coarse=networks[0] if len(networks) == 2 else None,
        fine=networks[-1],
        step=step if is_count(step) and step < _LARGEST_STEP else 0,
        learning_rate=_learning_rate(archive.root),
        domain=stored_domain(path, archive.root.get(DOMAIN_KEY)),
    )


def _learning_rate(root: Mapping[object, object]) -> float | None:
    """Return the learning rate of the optimiser's first group; None when it has none."""
    groups = (as_mapping(root.get("optimizer_state_dict")) or {}).get("param_groups")
    first = as_mapping(groups[0]) if isinstance(groups, list) and groups else None
    rate = (first or {}).get("lr")
    return rate if isinstance(rate, float) and math.isfinite(rate) and rate >= 0 else None


def _read_layers(path: Path, archive: TorchArchive, key: str) -> _Layers:
    """Return the linear layers of a state dict by name."""
    entries = as_mapping(archive.root[key])
    if not entries:
        raise unexpected(path, f"has no layers in {key}")
    if len(entries) > _MOST_TENSORS:
        raise unexpected(path, f"has {len(entries)} tensors in {key}, more than a NeRF has")
    pairs: dict[str, dict[str, object]] = {}
    for name, value in entries.items():
        layer, _, kind = str(name).removeprefix("module.").rpartition(".")
        pairs.setdefault(layer, {})[kind] = value
    layers = {}
    for layer, pair in pairs.items():
        shown = layer[:60].encode("ascii", "replace").decode()
        if pair.keys() != {"weight", "bias"}:
            raise unexpected(path, f"has in {key} '{shown}', which is no linear layer with weight and bias")
        weight, bias = (archive.array(f"{key}: {shown}.{kind}", pair[kind]) for kind in ("weight", "bias"))
        layers[layer] = stored_layer(path, f"{key}: {shown}", weight, bias)
    return layers


def _yenchenlin_network(path: Path, layers: _Layers) -> StoredNetwork:
    """Return the layers of the port by yenchenlin by role; it is wired as the original is."""
    if "output_linear" in layers:
        raise without_directions(path)
    trunk, view = _numbered(layers, "pts_linears"), _numbered(layers, "views_linears")
    single = _single(path, layers, ("alpha_linear", "feature_linear", "rgb_linear"), trunk, view)
    return StoredNetwork(trunk=trunk, density=single[0], bottleneck=single[1], view=view, colour=single[2])


def _krrish94_network(path: Path, layers: _Layers) -> StoredNetwork:
    """Return the layers of a FlexibleNeRFModel by krrish94 by role.

    It differs from the original: no ReLU follows its first layer, one follows the bottleneck, and a skip
    puts the encoded position last.
    """
    if "fc_out" in layers:
        raise without_directions(path)
    trunk, view = _numbered(layers, "layers_xyz"), _numbered(layers, "layers_dir")
    first, density, bottleneck, colour = _single(
        path, layers, ("layer1", "fc_alpha", "fc_feat", "fc_rgb"), trunk, view
    )
    return StoredNetwork(
        trunk=[first, *trunk],
        density=density,
        bottleneck=bottleneck,
        view=view,
        colour=colour,
        linear=(0,),
        bottleneck_relu=True,
        encoding_last=True,
    )


def _numbered(layers: _Layers, prefix: str) -> list[StoredLayer]:
    """Return the layers prefix.0, prefix.1 ... as far as they follow each other."""
    found: list[StoredLayer] = []
    while (name := f"{prefix}.{len(found)}") in layers:
        found.append(layers[name])
    return found


def _single(
    path: Path,
    layers: _Layers,
    names: tuple[str, ...],
    trunk: list[StoredLayer],
    view: list[StoredLayer],
) -> list[StoredLayer]:
    """Return the layers of the given names, which with trunk and view layers must be all there are."""
    missing = [name for name in names if name not in layers]
    if missing or not trunk or not view or len(layers) != len(names) + len(trunk) + len(view):
        known = {id(layer) for layer in (*trunk, *view)}
        others = [name for name, layer in layers.items() if id(layer) not in known and name not in names]
        shown = ", ".join(re.sub(r"[^\w.]", "?", name[:40]) for name in others[:5]) or "none"
        raise unexpected(
            path,
            f"holds a network of another kind: it has {len(trunk)} trunk and {len(view)} view layers, lacks "
            f"{', '.join(missing) or 'none'} of the others, and its layers of unknown names are: {shown}",
        )
    return [layers[name] for name in names]
