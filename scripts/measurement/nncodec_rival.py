"""Rows of networks coded with NNCodec, reference software of ISO/IEC 15938-17, in a process of its own."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from measurement.nerf_scenes import Scene, load_pair, measure, published_domain, test_views
from scene_codec.codecs.nerf_pruned.paper_method import copies
from scene_codec.entropy.bit_grid import encode_bit_grid
from scene_codec.networks.radiance_folding import folded
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.field import RadianceField
from scene_codec.radiance.nerf_field import NerfPairField, OccupiedNerfField

_PROCESS = Path(__file__).with_name("nncodec_process.py")


def nncodec_rows(
    scene: Scene, data: Path, python: Path, qualities: Sequence[int], after: RadianceField
) -> list[dict[str, Any]]:
    """Return rows of both networks, and of the folded fine one with the cells of our file.

    python : interpreter that has the package
    qualities : quantisation parameters, four to the octave of the step
    """
    assert isinstance(after, OccupiedNerfField)
    pair = load_pair(scene, data)
    views = test_views(scene, data)
    cells = len(encode_bit_grid(after.grid.occupied.numpy()))
    rows = []
    for quality in qualities:
        coarse, fine = copies(pair, torch.device("cpu"))
        assert coarse is not None
        size = _code([coarse, fine], python, quality)
        both = measure(NerfPairField(coarse, fine, published_domain(scene, data)), views)
        alone = folded(pair.fine)
        alone_size = _code([alone], python, quality) + cells
        shown = measure(OccupiedNerfField(alone, after.grid, after.domain), views)
        for label, own, found in (
            ("both networks", size, both),
            ("fine network in our cells", alone_size, shown),
        ):
            rows.append(
                {
                    "label": f"{scene.name}: {label}, NNCodec at QP {quality}",
                    "file_bytes": own,
                    "ratio_to_float32": pair.parameter_bytes / own,
                    **found.row(),
                }
            )
    return rows


def _code(networks: Sequence[RadianceMlp], python: Path, quality: int) -> int:
    """Replace the weights of networks by what NNCodec makes of them; return the bytes that takes."""
    layers = {
        f"{index} {name} {kind}": getattr(layer, kind)
        for index, network in enumerate(networks)
        for name, layer in network.linear_layers().items()
        for kind in ("weight", "bias")
    }
    with tempfile.TemporaryDirectory() as folder:
        tensors, result = (Path(folder) / name for name in ("tensors.npz", "result.npz"))
        np.savez(tensors, **{name: values.detach().numpy() for name, values in layers.items()})
        command = [str(python), str(_PROCESS), str(tensors), str(result), str(quality)]
        subprocess.run(command, cwd=folder, check=True)
        with np.load(result) as decoded, torch.no_grad():
            for name, values in layers.items():
                values.copy_(torch.from_numpy(decoded[name]))
            return int(decoded["bytes"])
