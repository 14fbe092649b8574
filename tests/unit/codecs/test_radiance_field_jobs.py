"""Which pictures are taken for those of a field, and which are refused."""

from types import SimpleNamespace

import pytest
import torch

from scene_codec.codecs.radiance_parts.field_jobs import check_pictures
from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.radiance.field import RenderedRays

PIXELS = 5000
COLOURS = torch.rand((PIXELS, 3), generator=torch.Generator().manual_seed(4))


class Cameras:
    """Cameras whose rays are the numbers of their pixels."""

    pixels = PIXELS

    def rays(self, pixel):
        return SimpleNamespace(to=lambda _: pixel)


class Pictures:
    """What these cameras saw."""

    def at(self, pixel):
        return None, COLOURS[pixel]


class FaintField:
    """A field that shows a share of what differs from the mean colour."""

    device = torch.device("cpu")
    rays_at_once = 700

    def __init__(self, contrast):
        self.contrast = contrast

    def render(self, pixel):
        mean = COLOURS.mean(dim=0)
        return RenderedRays(mean + self.contrast * (COLOURS[pixel] - mean), pixel, pixel)


@pytest.mark.parametrize("contrast", [0.2, 0.3, 1.0, 1.8])
def test_weak_fields_that_show_the_scene_are_taken(contrast):
    """With a contrast of 0.2 a field explains 36 % of the variance."""
    check_pictures(FaintField(contrast), Cameras(), Pictures(), Progress())
    check_pictures(FaintField(contrast), Cameras(), None, Progress())


@pytest.mark.parametrize("contrast", [-1.0, 0.0, 0.1, 2.0])
def test_fields_that_explain_next_to_nothing_are_refused_with_advice(contrast):
    """Another object in the middle of the same background explains a fifth."""
    with pytest.raises(InvalidRequestError, match=r"it is .* dB from them.*more steps, or leave"):
        check_pictures(FaintField(contrast), Cameras(), Pictures(), Progress())
