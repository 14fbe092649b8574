"""Fields compressed by VQRF (Li et al. 2023): the folder extreme_saving, or a zip archive of it.

The grid is that of DirectVoxGO, read between the centres of cells as VQRF's renderer does it. What is not
stored is empty; where there may be something is found again from the densities.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.errors import UnsupportedSceneError
from scene_codec.radiance.archive_names import zip_names
from scene_codec.radiance.restricted_pickle import as_mapping
from scene_codec.radiance.torch_archive import PICKLED_TENSOR_NAMES, pickled_tensors
from scene_codec.voxel_fields.dvgo_checkpoint import (
    density_rule,
    network_shader,
    read_limits,
    read_step,
    refuse_other_models,
)
from scene_codec.voxel_fields.grid_model import GridModel, visible_nodes
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.npz_members import NpzMembers, member_bytes
from scene_codec.voxel_fields.stored_entries import (
    MOST_NODES,
    StoredEntries,
    box_domain,
    finite,
    foreign,
    misshapen,
)
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint, parameter_bytes

MEMBERS = (
    "metadata", "non_prune_mask", "keep_mask", "non_prune_density", "non_vq_grid", "vq_indexs", "codebook",
    "rgbnet",
)  # fmt: skip
_ARRAY = "arr_0"
_LARGEST_MEMBER = 1 << 30
_MOST_CODES = 1 << 20
_MOST_FEATURES = 256
_CODES_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class _Parts:
    """The .npz files of a field by name, as paths or as bytes from an archive."""

    path: Path
    bytes_of: Mapping[str, bytes]
    size: int

    def open(self, name: str) -> NpzMembers:
        if self.path.is_dir():
            return NpzMembers(self.path / f"{name}.npz", title=f"{name}: ")
        return NpzMembers(self.path, self.bytes_of[name], f"{name}: ")

    def array(self, name: str, types: tuple[str, ...], axes: int, most: int) -> NDArray[np.generic]:
        with self.open(name) as file:
            return file.array(_ARRAY, types, axes, most)

    def entries(self, name: str, key: str) -> StoredEntries:
        with self.open(name) as file:
            root = file.described(key, PICKLED_TENSOR_NAMES)
            archive = pickled_tensors(file.path, root, 1 << 26)
        return StoredEntries(file.path, archive, as_mapping(root) or {}, f"{name}: ")


def read_vqrf(path: Path) -> VoxelCheckpoint:
    """Return the field in a folder or a zip archive. Raises `UnsupportedSceneError` naming what is wrong."""
    parts = _parts(path)
    top = parts.entries("metadata", "metadata")
    options, state = top.within("model_kwargs"), top.within("model_state_dict")
    refuse_other_models(options, state)
    shape = top.shape("world_size")
    low, high = state.corner("xyz_min"), state.corner("xyz_max")
    domain = box_domain(path, low, high)
    lattice = NodeLattice(shape, low, high, centred=True)
    held, kept = (_mask(parts, name, lattice.nodes) for name in ("non_prune_mask", "keep_mask"))
    if bool((kept & ~held).any()) or not held.any():
        raise UnsupportedSceneError(f"'{path.name}' keeps nodes that it leaves out, or has none.")
    rows = int(held.sum())
    density = _restored(parts, "non_prune_density", rows, 1, top.within("density_dequant"))
    features = _features(parts, kept[held], top.within("grid_dequant"))
    model = GridModel(
        index=NodeIndex.of_mask(lattice, torch.from_numpy(held)),
        raw_density=density,
        features=features,
        shader=network_shader(options, state, parts.entries("rgbnet", _ARRAY), "", features.shape[1]),
        rule=density_rule(options, state, low, high),
        step=read_step(options, low, high),
        limits=read_limits(options),
    )
    dense = 4 * (lattice.nodes - rows) * (1 + features.shape[1])
    return VoxelCheckpoint(
        model=replace(model, mask=visible_nodes(model)),
        family="vqrf",
        domain=domain,
        source_bytes=parts.size,
        parameter_bytes=dense + parameter_bytes(model),
        step=top.step("global_step"),
    )


def _parts(path: Path) -> _Parts:
    """Return the files of a field."""
    if path.is_dir():
        missing = [name for name in MEMBERS if not (path / f"{name}.npz").is_file()]
        if missing:
            raise foreign(path, f"lacks {', '.join(f'{name}.npz' for name in missing)}")
        sizes = [(path / f"{name}.npz").stat().st_size for name in MEMBERS]
        if max(sizes) > _LARGEST_MEMBER:
            raise foreign(path, f"has a file of {max(sizes)} bytes")
        return _Parts(path, {}, sum(sizes))
    found: dict[str, list[str]] = {name: [] for name in MEMBERS}
    for name in zip_names(path):
        place = PurePosixPath(name)
        if place.suffix == ".npz" and place.stem in found:
            found[place.stem].append(name)
    if not any(found.values()):
        raise ValueError("the directory at its end is missing")
    wrong = [name for name, places in found.items() if len(places) != 1]
    if wrong:
        raise foreign(path, f"does not hold {', '.join(f'{name}.npz' for name in wrong)} once each")
    with zipfile.ZipFile(path) as archive:
        content = {name: member_bytes(archive, places[0], _LARGEST_MEMBER) for name, places in found.items()}
    return _Parts(path, content, path.stat().st_size)


def _mask(parts: _Parts, name: str, nodes: int) -> NDArray[np.bool_]:
    """Return a mask of all nodes, (nodes,)."""
    packed = parts.array(name, ("u1",), 1, MOST_NODES)
    if len(packed) != (nodes + 7) // 8:
        raise misshapen(parts.path, name, packed.shape, f"{(nodes + 7) // 8} bytes for {nodes} nodes")
    return np.unpackbits(packed.view(np.uint8), count=nodes).astype(bool)


def _restored(parts: _Parts, name: str, rows: int, columns: int, rule: StoredEntries) -> Tensor:
    """Return values (rows, columns) that are stored in eight bits."""
    stored = parts.array(name, ("i1",), 2, rows * columns)
    if stored.shape != (rows, columns):
        raise misshapen(parts.path, name, stored.shape, f"{rows} rows of {columns}")
    values = (stored.astype(np.float32) - rule.number("zero_point")) * rule.number("scale")
    return finite(parts.path, name, values) if rows else torch.zeros(stored.shape)


def _features(parts: _Parts, kept: NDArray[np.bool_], rule: StoredEntries) -> Tensor:
    """Return the features of the held nodes: those of their codes, or their own where they are kept."""
    codebook = parts.array("codebook", ("f2", "f4"), 3, _MOST_CODES * _MOST_FEATURES)
    if codebook.shape[0] != 1 or codebook.shape[1] < 2 or not 1 <= codebook.shape[2] <= _MOST_FEATURES:
        raise misshapen(parts.path, "codebook", codebook.shape, "1, the codes and their features")
    codes = finite(parts.path, "codebook", codebook[0])
    index = _codes(parts, int((~kept).sum()), len(codes))
    features = torch.zeros((len(kept), codes.shape[1]))
    features[torch.from_numpy(~kept)] = codes[torch.from_numpy(index)]
    own = _restored(parts, "non_vq_grid", int(kept.sum()), codes.shape[1], rule)
    features[torch.from_numpy(kept)] = own
    return features


def _codes(parts: _Parts, count: int, codes: int) -> NDArray[np.int32]:
    """Return the number of each node's code, stored with as few bits as the codebook needs."""
    width = (codes - 1).bit_length()
    packed = parts.array("vq_indexs", ("u1",), 1, (count * width + 7) // 8).view(np.uint8)
    if len(packed) != (count * width + 7) // 8:
        raise misshapen(parts.path, "vq_indexs", packed.shape, f"{count} numbers of {width} bits")
    found = np.zeros(count, np.int32)
    for start in range(0, count, _CODES_AT_ONCE):
        part = found[start : start + _CODES_AT_ONCE]
        bits = np.unpackbits(packed[start * width // 8 :], count=len(part) * width)
        for column in bits.reshape(-1, width).T:
            part <<= 1
            part |= column
    if count and int(found.max()) >= codes:
        raise UnsupportedSceneError(
            f"'{parts.path.name}' is damaged: a node has the code {int(found.max())} of {codes}."
        )
    return found
