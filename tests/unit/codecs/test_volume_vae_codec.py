"""The codec as the public API will see it: settings, a set of volumes, what is left out."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from volume_vae_models import rate_model, waves

from scene_codec.codecs.contract import JobContext
from scene_codec.codecs.volume_vae.codec import VolumeVaeCodec
from scene_codec.codecs.volume_vae.model import save_model
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

CODEC = VolumeVaeCodec()
CONTEXT = JobContext("cpu", Progress(), lambda _key: Path())
GOOD = VolumeObject("good", (VolumeGrid("density", waves((16, 16, 16))),))
BAD = VolumeObject("bad", (VolumeGrid("density", np.zeros((8, 8, 8), np.complex64)),))


@pytest.fixture
def settings(tmp_path):
    save_model(tmp_path / "m.nscmodel", rate_model().data)
    return CODEC.settings(None, {"model": str(tmp_path / "m.nscmodel"), "step": 0.02})


def test_a_volume_that_cannot_be_coded_does_not_stop_the_others(settings):
    coded = CODEC.encode([BAD, GOOD], settings, CONTEXT)
    assert [failure.name for failure in coded.failures] == ["bad"]
    assert [item.source.name for item in coded.objects] == ["good"]
    decoder = CODEC.decoder({section.kind: section.payload for section in coded.shared}, "cpu")
    own = {section.kind: section.payload for section in coded.objects[0].sections}
    restored = decoder.decode(own, Progress())
    np.testing.assert_allclose(restored.grids[0].values, GOOD.grids[0].values, atol=0.1)
    labels = set(CODEC.shared_labels) | set(CODEC.object_labels)
    assert {section.kind for section in (*coded.shared, *coded.objects[0].sections)} <= labels


def test_nothing_that_can_be_coded_is_an_error_with_the_reason(settings):
    with pytest.raises(UnsupportedSceneError, match="complex64"):
        CODEC.encode([BAD], settings, CONTEXT)


@pytest.mark.parametrize("overrides", [{"unknown": 1}, {"psnr": 1.0}, {"blend": "sharp"}, {"step": -1.0}])
def test_wrong_settings_are_refused(overrides):
    with pytest.raises(InvalidRequestError, match="volume-vae"):
        CODEC.settings("rate", overrides)
