"""The choice between exact and deferred shading: which fields have it, and what is said of others."""

import pytest
import torch
from made_fields import DOMAIN, ball

from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.radiance.field import RenderedRays
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.view_rendering import shaded
from scene_codec.voxel_fields.interactive import InteractiveField
from scene_codec.voxel_fields.voxel_field import VoxelField


class Fog:
    """A field that is no grid."""

    domain, device, rays_at_once = DOMAIN, torch.device("cpu"), 64

    def render(self, rays):
        empty = torch.zeros(len(rays))
        return RenderedRays(torch.ones(len(rays), 3), empty, empty)

    def density(self, positions):
        return torch.zeros(len(positions))


def test_a_grid_is_shaded_as_it_is_asked_for():
    item = RadianceObject("ball", VoxelField(ball(), DOMAIN), host=b"h")
    assert shaded(item, "exact", Progress()) is item
    other = shaded(item, "deferred", Progress())
    assert isinstance(other.field, InteractiveField)
    assert (other.name, other.host, other.field.domain) == ("ball", b"h", DOMAIN)


def test_a_field_that_is_no_grid_says_what_to_do():
    item = RadianceObject("fog", Fog())
    assert shaded(item, "exact", Progress()) is item
    with pytest.raises(InvalidRequestError, match=r"'fog' has no deferred shading.*exact shading"):
        shaded(item, "deferred", Progress())
