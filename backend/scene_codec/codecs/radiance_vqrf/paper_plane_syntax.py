"""The sections of planes and lines that VQRF's method made, written and read side by side.

| kind | content, deflated |
|---|---|
| 32 MASKS | bits of the mask of occupied nodes, if any; of each plane, whether texels are held, and kept |
| 33 DENSITY | of each density plane: float32 scale and zero of each channel, int8 of each kept texel |
| 34 KEPT | likewise of the appearance's planes |
| 35 INDICES | of each plane, density first: the codes of other held texels, in as few bits as needed |
| 36 CODEBOOK | float16, one codebook after the other, in the same order |
| 37 NETWORK | float16: lines, basis, network |
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.radiance_vqrf.paper_planes import (
    PLANES,
    ChannelBytes,
    PaperPlane,
    PaperPlanes,
    other_names,
    texels,
)
from scene_codec.codecs.radiance_vqrf.paper_sections import (
    CODEBOOK,
    DENSITY,
    INDICES,
    KEPT,
    MASKS,
    NETWORK,
)
from scene_codec.codecs.radiance_vqrf.paper_syntax import (
    inflated,
    pack_indices,
    read_halves,
    unpack_indices,
)
from scene_codec.codecs.radiance_vqrf.stored_field import MAX_CODES, MAX_NODES, MAX_VALUES
from scene_codec.entropy.byte_fields import unpacked_bits
from scene_codec.errors import CorruptFileError
from scene_codec.voxel_fields.factored_model import FactoredModel

_LEVEL = 9
_MOST_SCALE = float(np.finfo(np.float32).max) / 1024.0


def write_planes(stored: PaperPlanes) -> dict[int, bytes]:
    """Return the sections of planes and lines."""
    masks = [] if stored.mask is None else [stored.mask]
    masks += itertools.chain.from_iterable(zip(stored.held, stored.kept, strict=True))
    planes = (*stored.density, *stored.appearance)
    parts = {
        MASKS: [np.packbits(mask).tobytes() for mask in masks],
        DENSITY: [_channel_bytes(plane.own) for plane in stored.density],
        KEPT: [_channel_bytes(plane.own) for plane in stored.appearance],
        INDICES: [pack_indices(plane.codes, len(plane.codebook)) for plane in planes],
        CODEBOOK: [plane.codebook.astype("<f2").tobytes() for plane in planes],
        NETWORK: [values.astype("<f2").tobytes() for values in stored.others],
    }
    return {kind: zlib.compress(b"".join(content), _LEVEL) for kind, content in parts.items()}


def read_planes(sections: Mapping[int, bytes], frame: FactoredModel, codes: int) -> PaperPlanes:
    """Return the planes in sections. Raises `CorruptFileError` unless `write_planes` can have written them.

    frame : of the right shapes, which the caller has checked, with any values
    codes : vectors in each codebook
    """
    if set(sections) != {MASKS, DENSITY, KEPT, INDICES, CODEBOOK, NETWORK}:
        raise CorruptFileError("The sections of a radiance field are not those that its description needs.")
    counts = texels(frame.density_factors)
    channels = [len(plane) for plane in (*frame.density_factors.planes, *frame.appearance.planes)]
    nodes = 0 if frame.mask is None else frame.mask.lattice.nodes
    values = sum(count * width for count, width in zip(counts * 2, channels, strict=True))
    if not (values <= MAX_VALUES and nodes <= MAX_NODES and 2 <= codes <= MAX_CODES):
        raise CorruptFileError(f"A radiance field of {values} values and {codes} codes is impossible.")
    masks = _read_masks(sections[MASKS], [nodes, *(count for count in counts for _ in range(2))])
    mask, held, kept = masks[0], masks[1::2], masks[2::2]
    if any((own & ~all_held).any() for own, all_held in zip(kept, held, strict=True)):
        raise CorruptFileError("A radiance field keeps a texel that it does not hold.")
    own = [int(one.sum()) for one in kept]
    coded = [int(one.sum()) - count for one, count in zip(held, own, strict=True)]
    density = _read_channels(sections[DENSITY], own, channels[:PLANES])
    appearance = _read_channels(sections[KEPT], own, channels[PLANES:])
    indices = _read_indices(sections[INDICES], coded * 2, codes)
    codebooks = read_halves(sections[CODEBOOK], [(codes, width) for width in channels], "codebooks")
    shapes = [tuple(frame.parameters()[name].shape) for name in other_names(frame)]
    planes = [PaperPlane(*parts) for parts in zip([*density, *appearance], indices, codebooks, strict=True)]
    return PaperPlanes(
        held=tuple(held),
        kept=tuple(kept),
        density=tuple(planes[:PLANES]),
        appearance=tuple(planes[PLANES:]),
        others=tuple(read_halves(sections[NETWORK], shapes, "lines and network")),
        mask=mask if nodes else None,
    )


def _channel_bytes(values: ChannelBytes) -> bytes:
    rules = np.stack([values.scales, values.zeros]).astype("<f4")
    return rules.tobytes() + values.stored.tobytes()


def _parts(content: bytes, sizes: list[int]) -> list[bytes]:
    """Return content cut into parts of such sizes."""
    ends = list(itertools.accumulate(sizes, initial=0))
    return [content[start:end] for start, end in itertools.pairwise(ends)]


def _read_masks(data: bytes, counts: list[int]) -> list[NDArray[np.bool_]]:
    """Return masks of so many bits each."""
    sizes = [-(-count // 8) for count in counts]
    parts = _parts(inflated(data, sum(sizes), "masks"), sizes)
    return [unpacked_bits(part, count).view(np.bool_) for part, count in zip(parts, counts, strict=True)]


def _read_channels(data: bytes, rows: list[int], channels: list[int]) -> list[ChannelBytes]:
    """Return the kept texels of three planes."""
    sizes = [(8 + count) * width for count, width in zip(rows, channels, strict=True)]
    found = []
    for part, width in zip(_parts(inflated(data, sum(sizes), "kept texels"), sizes), channels, strict=True):
        scales, zeros = np.frombuffer(part[: 8 * width], "<f4").astype(np.float32).reshape(2, width)
        if not ((scales > 0.0) & (scales < _MOST_SCALE) & (np.abs(zeros) <= 256.0)).all():
            raise CorruptFileError("Kept texels of a radiance field have impossible scales.")
        stored = np.frombuffer(part[8 * width :], np.int8).reshape(-1, width)
        found.append(ChannelBytes(stored, scales, zeros))
    return found


def _read_indices(data: bytes, counts: list[int], codes: int) -> list[NDArray[np.uint16]]:
    width = (codes - 1).bit_length()
    sizes = [math.ceil(count * width / 8) for count in counts]
    parts = _parts(inflated(data, sum(sizes), "codes"), sizes)
    return [unpack_indices(part, count, codes) for part, count in zip(parts, counts, strict=True)]
