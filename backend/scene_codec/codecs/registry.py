"""All codecs by name. To add one, write its folder and name it here."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from scene_codec.errors import InvalidRequestError

if TYPE_CHECKING:
    from scene_codec.codecs.contract import Codec


DEFAULT_CODECS = {"mesh": "mesh-surface", "volume": "volume-wavelet", "radiance": "nerf-pruned"}
"""The codec of each content when nobody chose one."""

VOXEL_FIELD_CODEC = "radiance-vqrf"
"""That of radiance fields whose values lie on grids, planes or lines."""


@cache
def all_codecs() -> dict[str, Codec]:
    """Return every codec by its name in files."""
    from scene_codec.codecs.mesh_necgs.codec import MeshNecgsCodec
    from scene_codec.codecs.mesh_surface.codec import MeshSurfaceCodec
    from scene_codec.codecs.nerf_pruned.codec import NerfPrunedCodec
    from scene_codec.codecs.radiance_vqrf.codec import RadianceVqrfCodec
    from scene_codec.codecs.volume_vae.codec import VolumeVaeCodec
    from scene_codec.codecs.volume_wavelet.codec import VolumeWaveletCodec

    codecs: list[Codec] = [
        MeshSurfaceCodec(),
        MeshNecgsCodec(),
        VolumeWaveletCodec(),
        VolumeVaeCodec(),
        NerfPrunedCodec(),
        RadianceVqrfCodec(),
    ]
    return {codec.info.name: codec for codec in codecs}


def codec_named(name: str) -> Codec:
    """Return a codec. Raises `InvalidRequestError` listing the known ones."""
    codecs = all_codecs()
    if name not in codecs:
        raise InvalidRequestError(f"There is no codec '{name}'; choose one of: {', '.join(codecs)}.")
    return codecs[name]
