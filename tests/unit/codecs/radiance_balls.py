"""A codec of radiance fields that are single balls: a codec for tests of what lies around one."""

from dataclasses import dataclass
from types import MappingProxyType

import msgspec
import torch

from scene_codec.bitstream import Section
from scene_codec.codecs.contract import CodedObject, CodedSet, ContentSize
from scene_codec.radiance.field import RenderedRays
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.reports import CodecInfo

NAME = "radiance-balls"
DOMAIN = SceneDomain(near=2.0, far=6.0, white_background=True, low=(-1.5,) * 3, high=(1.5,) * 3)
RADIUS = 0.8
COLOUR = (0.75, 0.5, 0.25)


@dataclass(frozen=True, eq=False)
class BallField:
    """A ball whose density falls linearly and is that of the usual surface at its radius."""

    domain: SceneDomain = DOMAIN
    radius: float = RADIUS
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    surface: float = 50.0
    opacity: float = 1.0
    rays_at_once: int = 500
    device = torch.device("cpu")

    def density(self, positions):
        distance = (positions - torch.tensor(self.centre)).norm(dim=1)
        return self.surface * (1.0 + 4.0 * (self.radius - distance)).clamp_min(0.0)

    def render(self, rays):
        origins = rays.origins - torch.tensor(self.centre)
        a = (rays.directions**2).sum(1)
        b = (origins * rays.directions).sum(1)
        root = b**2 - a * ((origins**2).sum(1) - self.radius**2)
        hit = root > 0
        depth = torch.where(hit, (-b - root.clamp_min(0).sqrt()) / a, 0.0)
        opacity = hit.float() * self.opacity
        background = 1.0 if self.domain.white_background else 0.0
        colour = opacity[:, None] * torch.tensor(COLOUR) + (1.0 - opacity[:, None]) * background
        return RenderedRays(colour, depth, opacity)


class BallSettings(msgspec.Struct, frozen=True, kw_only=True):
    radius: float = RADIUS


class BallDecoder:
    def decode(self, sections, progress):
        return BallField(radius=msgspec.json.decode(sections[1]))


class BallCodec:
    info = CodecInfo(
        name=NAME, content="radiance", summary="Balls", default_preset="ball", presets={"ball": "A ball"}
    )
    payload_version = 1
    shared_labels = MappingProxyType({})
    object_labels = MappingProxyType({1: "ball"})
    detail_kinds = (1,)
    uses_torch = True

    def settings(self, preset, overrides):
        return msgspec.structs.replace(BallSettings(), **overrides)

    def encode(self, objects, settings, context):
        section = Section(kind=1, payload=msgspec.json.encode(settings.radius))
        coded = []
        for item in objects:
            size = sum(path.stat().st_size for path in item.paths)
            coded.append(CodedObject(item, (section,), ContentSize.of_parameters(250, size)))
        return CodedSet((), tuple(coded), ())

    def add(self, objects, shared, settings, context):
        return self.encode(objects, settings, context)

    def details(self, sections):
        return {"field": ({"radius": msgspec.json.decode(sections[1])},)}

    def decoder(self, shared, device):
        return BallDecoder()
