"""In which space a network is seen: what settings, pictures and checkpoints say of it."""

import dataclasses

import msgspec
import numpy as np
import pytest
import torch
from nerf_checkpoints import TINY, blob_network, write_blob, write_forward_facing, write_pictures

import scene_codec
from scene_codec.cli.main import main
from scene_codec.codecs.nerf_pruned.config import NerfPrunedSettings
from scene_codec.codecs.nerf_pruned.encoder import encode_field
from scene_codec.codecs.nerf_pruned.scene_setup import open_pictures, scene_domain
from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.radiance.checkpoint_writer import write_checkpoint
from scene_codec.radiance.checkpoints import load_checkpoint
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.radiance_evaluation import evaluate_views

CENTRE = (0.0, 0.0, -2.4)
WORLD = SceneDomain(near=1.2, far=4.0, low=(-2.0, -2.0, -4.0), high=(2.0, 2.0, -1.0))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network in world space, from which its training's data set is not told."""
    path = tmp_path_factory.mktemp("blob") / "blob.tar"
    write_checkpoint(path, (None, blob_network(centre=CENTRE)), WORLD, 1000)
    state = torch.load(path, weights_only=True)
    del state["scene_domain"]
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return write_forward_facing(tmp_path_factory.mktemp("capture"), blob_network(centre=CENTRE), WORLD)


def settings_of(**changes):
    return msgspec.structs.replace(NerfPrunedSettings(), **{**TINY, **changes})


def domain_of(checkpoint, **changes):
    settings = settings_of(**changes)
    return scene_domain(load_checkpoint([checkpoint]), open_pictures(settings), settings)


def test_a_network_in_world_space_is_made_small_rendered_and_measured_with_forward_facing_pictures(
    checkpoint, capture, tmp_path
):
    path = tmp_path / "blob.nscene"
    settings = {**TINY, "images": str(capture), "scene": "object", "steps": 40}
    scene_codec.encode(checkpoint, path, settings=settings, device="cpu")
    (details,) = scene_codec.inspect(path).objects[0].details["field"]
    assert (details["space"], details["background"]) == ("world", "black")
    assert details["near"] == pytest.approx(1.2)
    assert details["far"] == pytest.approx(4.0)
    assert details["psnr_to_training_pictures"] > 20.0
    assert evaluate_views(path, capture, "test", device="cpu").psnr > 20.0
    words = ("--cameras", str(capture), "--split", "test", "--device", "cpu")
    assert main(["render", str(path), "-o", str(tmp_path / "views"), *words]) == 0
    assert len(list((tmp_path / "views").iterdir())) == 2


def test_forward_facing_pictures_give_their_own_space_unless_world_space_is_asked_for(checkpoint, capture):
    own = domain_of(checkpoint, images=str(capture))
    assert (own.near, own.far, own.ndc) == (0.0, 1.0, (2.0, 2.0))
    assert own == domain_of(checkpoint, images=str(capture), scene="forward-facing")
    world = domain_of(checkpoint, images=str(capture), scene="object")
    assert (world.near, world.far) == pytest.approx((1.2, 4.0))
    assert world.ndc is None
    assert not world.white_background
    assert world.low[2] < -4.0 < -1.2 < world.high[2]
    assert domain_of(checkpoint, images=str(capture), scene="object", near=0.5, far=3.0).near == 0.5


def test_what_is_asked_for_goes_before_the_space_in_a_checkpoint(checkpoint, capture, tmp_path):
    forward = dataclasses.replace(WORLD, near=0.0, far=1.0, ndc=(2.0, 2.0))
    told = write_blob(tmp_path / "forward.tar", domain=forward)
    assert domain_of(told, images=str(capture)) == forward
    world = domain_of(told, images=str(capture), scene="object")
    assert world == domain_of(checkpoint, images=str(capture), scene="object")
    object_told = write_blob(tmp_path / "world.tar", domain=WORLD)
    asked = domain_of(object_told, images=str(capture), scene="forward-facing")
    assert asked == domain_of(checkpoint, images=str(capture))


def test_pictures_of_an_object_are_not_taken_for_a_forward_facing_scene(checkpoint, tmp_path):
    settings = settings_of(images=str(write_pictures(tmp_path / "pictures")), scene="forward-facing")
    with pytest.raises(InvalidRequestError, match="forward-facing"):
        encode_field(load_checkpoint([checkpoint]), settings, CPU, Progress())


def test_without_pictures_the_usual_space_is_taken(checkpoint):
    assert domain_of(checkpoint).ndc is None
    forward = domain_of(checkpoint, scene="forward-facing")
    assert (forward.near, forward.far) == (0.0, 1.0)
    assert np.less(forward.low, forward.high).all()
