"""What a file says of a voxel field besides its values: lattice, rules, shader, space; all of it checked."""

from __future__ import annotations

import math
import struct
from typing import Literal

import msgspec

from scene_codec.codecs.radiance_parts.claims import fault_of_claims
from scene_codec.errors import CorruptFileError
from scene_codec.radiance.scene_domain import SceneDomain

MAX_NODES = 1 << 25
"""322 along each axis; TensoRF has 300, DirectVoxGO 256. To decode which are held takes 27 bytes a node."""

MAX_SIDE = 1 << 11
MAX_SAMPLES = 1 << 15
"""Of a ray along the longest side of the box."""

MAX_SAMPLES_PER_NODE = 16
"""Of a ray along the diagonal of the box, for each node along the three axes: published renderers take about
one, and ten where nodes are ten times as dense along one axis as along others."""

MAX_FEATURES = 256
MAX_VALUES = 1 << 28
MAX_HELD = 1 << 23
MAX_DISTANCE = 1e6
MAX_LENS = 1e3
MAX_LAYERS = 16
MAX_WIDTH = 1024
MAX_OCTAVES = 16
MAX_CODES = 1 << 16

SPACE = struct.Struct("<8f")
LENS = struct.Struct("<2f")
RULES = struct.Struct("<6f")


class StoredShader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How features become colours, see `shading`.

    kind : plain, harmonics, or a network
    features : of a node
    widths : of a network's hidden layers
    squashed : plain: through a sigmoid
    view_octaves, feature_octaves, residual : see `shading.NetworkShader`; -1 for no encoded features
    """

    kind: Literal["plain", "harmonics", "network"]
    features: int
    widths: tuple[int, ...] = ()
    squashed: bool = True
    view_octaves: int = 0
    feature_octaves: int = -1
    residual: bool = False

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Outputs and inputs of a network's layers."""
        if self.kind != "network":
            return []
        own = self.features - 3 if self.residual else self.features
        inputs = own * (1 + 2 * max(self.feature_octaves, 0)) + 3 + 6 * self.view_octaves
        widths = [inputs, *self.widths, 3]
        return list(zip(widths[1:], widths[:-1], strict=True))


class StoredPlanes(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a field of planes and lines has besides what grids have.

    density, appearance : components of each of the three planes
    limits : near and far of the box's entry, and corners of the mask's box, eight float32
    mask : nodes of the mask along each axis, empty without one
    """

    density: tuple[int, int, int]
    appearance: tuple[int, int, int]
    limits: bytes
    mask: tuple[int, ...] = ()


class FieldHeader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the FIELD section, a MessagePack array.

    method : rate or vqrf
    family : whose file it was
    shape : nodes along each axis
    softplus, rules : of the density; shift, scale, size of a step, limits of alpha, weight and darkness
    space : near, far and the corners of the box
    lens : `SceneDomain.ndc`, empty for world space
    white_background : what is behind the scene
    nodes : that are held
    coordinates : of features, as many as are stored of each node
    codes : of a codebook, with the method vqrf
    planes : of a field that is none of nodes
    hundredths : PSNR in hundredths of a decibel to what the field showed before, and to pictures;
        -1 when not measured
    source_parameters : trained numbers before, all nodes counted
    """

    method: Literal["rate", "vqrf"]
    family: Literal["dvgo", "plenoxels", "tensorf-vm", "tensorf-cp", "vqrf"]
    shape: tuple[int, int, int]
    softplus: bool
    rules: bytes
    shader: StoredShader
    space: bytes
    lens: bytes = b""
    white_background: bool = True
    nodes: int = 0
    coordinates: int = 0
    codes: int = 0
    planes: StoredPlanes | None = None
    hundredths: tuple[int, int] = (-1, -1)
    source_parameters: int = 0

    @property
    def domain(self) -> SceneDomain:
        """The space that the field lives in."""
        near, far, *corners = SPACE.unpack(self.space)
        return SceneDomain(
            near=near,
            far=far,
            ndc=LENS.unpack(self.lens) if self.lens else None,
            white_background=self.white_background,
            low=(corners[0], corners[1], corners[2]),
            high=(corners[3], corners[4], corners[5]),
        )


def read_header(data: bytes) -> FieldHeader:
    """Read a FIELD section. Raises `CorruptFileError` unless an encoder can have written it."""
    try:
        header = msgspec.msgpack.decode(data, type=FieldHeader)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"The description of a voxel field cannot be read: {error}.") from error
    fault = impossibility(header)
    if fault:
        raise CorruptFileError(f"The description of a voxel field is impossible: {fault}.")
    return header


def impossibility(header: FieldHeader) -> str | None:
    """Return what no file may say of a field, before anything of its sizes is allocated."""
    return (
        _fault_of_grid(header)
        or _fault_of_shader(header.shader)
        or _fault_of_numbers(header)
        or _fault_of_planes(header)
        or fault_of_claims(header.hundredths, header.source_parameters)
    )


def _fault_of_grid(header: FieldHeader) -> str | None:
    """Return what is impossible in the sizes of a grid, before anything of them is allocated."""
    shape = header.shape
    if not all(2 <= side <= MAX_SIDE for side in shape) or math.prod(shape) > MAX_NODES:
        return f"{shape} nodes: 2 to {MAX_SIDE} along each axis and {MAX_NODES:,} in all are allowed"
    if not 0 <= header.nodes <= math.prod(shape):
        return f"{header.nodes} of {math.prod(shape)} nodes"
    if not 0 <= header.coordinates <= MAX_FEATURES:
        return f"{header.coordinates} coordinates of features"
    if header.nodes > MAX_HELD:
        return f"{header.nodes} held nodes"
    if header.nodes * max(header.coordinates, header.shader.features) > MAX_VALUES:
        return f"features of {header.nodes} nodes"
    return None


def _fault_of_planes(header: FieldHeader) -> str | None:
    """Return what is impossible in codes, planes and lines."""
    fewest, most = (2, MAX_CODES) if header.method == "vqrf" else (0, 0)
    if not fewest <= header.codes <= most:
        return f"{header.codes} codes"
    planes = header.planes
    if planes is None:
        return None
    if header.method != "vqrf" or len(planes.limits) != SPACE.size:
        return "planes in a place that has none"
    components = (*planes.density, *planes.appearance)
    if not all(0 < count <= MAX_FEATURES for count in components):
        return f"{components} components"
    near, far, *corners = SPACE.unpack(planes.limits)
    boxed = all(a < b for a, b in zip(corners[:3], corners[3:], strict=True))
    if not all(map(math.isfinite, (near, far, *corners))) or not (0.0 <= near <= far and boxed):
        return "where rays may enter its box, or the box of its mask"
    sides_fit = len(planes.mask) in (0, 3) and all(2 <= side <= MAX_SIDE for side in planes.mask)
    fits = sides_fit and math.prod(planes.mask) <= MAX_NODES
    return None if fits else f"a mask of {planes.mask} nodes, of which {MAX_NODES:,} are allowed"


def _fault_of_shader(shader: StoredShader) -> str | None:
    """Return what is impossible in a shader."""
    if not 0 < shader.features <= MAX_FEATURES:
        return f"{shader.features} features"
    least = {"plain": 3, "harmonics": 27, "network": 3 if shader.residual else 1}[shader.kind]
    if shader.features < least or (shader.kind != "network" and shader.features != least):
        return f"{shader.features} features for {shader.kind}"
    if len(shader.widths) > MAX_LAYERS or not all(0 < width <= MAX_WIDTH for width in shader.widths):
        return f"layers {shader.widths}"
    octaves_fit = 0 <= shader.view_octaves <= MAX_OCTAVES and -1 <= shader.feature_octaves <= MAX_OCTAVES
    return None if octaves_fit else "its octaves"


def _fault_of_numbers(header: FieldHeader) -> str | None:
    """Return what is impossible in the rules and the space of a field."""
    lengths = (len(header.space), len(header.rules), len(header.lens))
    if lengths[:2] != (SPACE.size, RULES.size) or lengths[2] not in (0, LENS.size):
        return "a list of numbers has another length"
    near, far, *corners = SPACE.unpack(header.space)
    lens = LENS.unpack(header.lens) if header.lens else (1.0, 1.0)
    shift, scale, size, alpha, weight, dark = rules = RULES.unpack(header.rules)
    if not all(map(math.isfinite, (near, far, *corners, *lens, *rules))):
        return "a number is not finite"
    if not 0.0 <= near < far or not all(a < b for a, b in zip(corners[:3], corners[3:], strict=True)):
        return "its space is empty"
    if max(map(abs, (near, far, *corners))) > MAX_DISTANCE or not all(
        1.0 / MAX_LENS <= own <= MAX_LENS for own in lens
    ):
        return "a place or a lens beyond all scenes"
    if scale <= 0.0 or min(alpha, weight, dark) < 0.0 or abs(shift) > 1e6:
        return "a rule of its density or its lens"
    sides = [b - a for a, b in zip(corners[:3], corners[3:], strict=True)]
    # A ray through the box has a bounded number of samples, and a sample a bounded reach: rendering must end.
    diagonal = math.hypot(*sides)
    least = max(max(sides) / MAX_SAMPLES, diagonal / (MAX_SAMPLES_PER_NODE * sum(header.shape)))
    return None if least <= size <= diagonal else f"steps of {size:g}"
