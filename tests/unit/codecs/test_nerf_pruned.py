"""The codec of radiance networks on tiny ones: training, file, and what comes back."""

import dataclasses
import itertools

import msgspec
import numpy as np
import pytest
import torch
from nerf_checkpoints import DOMAIN, TINY, blob_network, write_blob, write_pictures

import scene_codec
from scene_codec.codecs.nerf_pruned.config import PRESETS, NerfPrunedSettings, settings_for
from scene_codec.codecs.nerf_pruned.encoder import encode_field
from scene_codec.codecs.nerf_pruned.paper_method import prune_by_magnitude, stage_rate, start_rate
from scene_codec.codecs.nerf_pruned.pruning import SCHEDULE_END, share_at
from scene_codec.codecs.nerf_pruned.quantised_network import SPARED, QuantisedNetwork
from scene_codec.codecs.nerf_pruned.syntax import write_field
from scene_codec.codecs.registry import codec_named
from scene_codec.errors import Cancelled, InvalidRequestError, UnsupportedSceneError
from scene_codec.metrics.image_quality import psnr
from scene_codec.progress import CancelToken, Progress
from scene_codec.radiance.checkpoints import load_checkpoint
from scene_codec.radiance.field import render_view
from scene_codec.radiance.nerf_field import NerfPairField, OccupiedNerfField
from scene_codec.radiance.posed_images import load_posed_images
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.radiance.ray_supply import made_cameras

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_blob(tmp_path_factory.mktemp("blob") / "blob.tar")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


def tiny(**changes):
    return msgspec.structs.replace(NerfPrunedSettings(), **{**TINY, **changes})


def sections_of(checkpoint, settings, progress=None, folder=None):
    field = encode_field(load_checkpoint([checkpoint]), settings, CPU, progress or Progress(), folder)
    return {section.kind: section.payload for section in write_field(field)}


def decoded(path):
    (item,) = scene_codec.decode(path, device="cpu")
    assert isinstance(item, RadianceObject)
    return item.field


def view(field):
    return render_view(field, made_cameras(DOMAIN, 5)[2].resized(24, 24)).colour


def test_what_comes_back_shows_what_the_network_showed(checkpoint, tmp_path):
    report = scene_codec.encode(
        checkpoint, tmp_path / "blob.nscene", settings={**TINY, "steps": 40}, device="cpu"
    )
    field = decoded(tmp_path / "blob.nscene")
    assert isinstance(field, OccupiedNerfField)
    before = view(NerfPairField(None, blob_network(), DOMAIN))
    assert psnr(before, view(field)) > 24.0
    assert report.file_bytes == (tmp_path / "blob.nscene").stat().st_size
    assert report.objects[0].parameters == 2 * blob_network().shape.parameters
    assert report.file_bytes < report.objects[0].binary_bytes


def test_the_same_settings_give_the_same_bytes(checkpoint):
    settings = tiny(prune=0.4)
    assert sections_of(checkpoint, settings) == sections_of(checkpoint, settings)


@pytest.mark.parametrize("score", ["steps", "magnitude", "activation", "gradient"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(checkpoint, tmp_path, score):
    settings = tiny(prune=0.4, score=score, steps=12)
    whole = sections_of(checkpoint, settings)
    token = CancelToken()

    def stop(event):
        if event.message.startswith("step 5"):
            token.cancel()

    with pytest.raises(Cancelled):
        sections_of(checkpoint, settings, Progress(stop, token), tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()
    steps = []
    again = sections_of(checkpoint, settings, Progress(lambda event: steps.append(event.message)), tmp_path)
    assert again == whole
    assert not any(message.startswith("step 2,") for message in steps)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_the_wanted_share_is_pruned_and_heads_are_spared(checkpoint, share):
    field = encode_field(load_checkpoint([checkpoint]), tiny(prune=share), CPU, Progress())
    assert field.header.zeros / 1000 >= share - 1e-3
    stored = field.header.networks[0].shape
    for (name, _, _), layer in zip(stored.layers, field.networks[0], strict=True):
        if name in SPARED:
            assert np.count_nonzero(layer.weights)


def test_fewer_neurons_make_a_smaller_network(checkpoint):
    field = encode_field(load_checkpoint([checkpoint]), tiny(neurons=0.5), CPU, Progress())
    assert max(field.header.networks[0].trunk) <= 8
    assert field.header.networks[0].view[0] <= 4


def test_pictures_are_learned_from_and_the_file_says_how_well(checkpoint, pictures, tmp_path):
    settings = {**TINY, "images": str(pictures), "steps": 30}
    scene_codec.encode(checkpoint, tmp_path / "blob.nscene", settings=settings, device="cpu")
    details = scene_codec.inspect(tmp_path / "blob.nscene").objects[0].details["field"][0]
    assert details["psnr_to_training_pictures"] > 20.0
    assert details["psnr_to_field"] > 20.0
    shown = decoded(tmp_path / "blob.nscene")
    errors = [
        np.square(image.load(True) - render_view(shown, image.camera).colour).mean()
        for image in load_posed_images(pictures, "test").images
    ]
    assert -10 * np.log10(np.mean(errors)) == pytest.approx(details["psnr_to_training_pictures"], abs=1.5)


def test_the_papers_method_keeps_both_networks(checkpoint, pictures, tmp_path):
    settings = {"images": str(pictures), "prune": 0.5, "steps": 2, "rays": 64, "cells": 16}
    scene_codec.encode(checkpoint, tmp_path / "blob.nscene", preset="paper", settings=settings, device="cpu")
    field = decoded(tmp_path / "blob.nscene")
    assert isinstance(field, NerfPairField)
    weights = torch.cat(
        [
            layer.weight.reshape(-1)
            for network in (field.coarse, field.fine)
            for layer in network.linear_layers().values()
        ]
    )
    assert float((weights == 0).float().mean()) == pytest.approx(0.5, abs=0.02)


def test_the_papers_method_goes_on_where_it_was_stopped(checkpoint, pictures, tmp_path):
    settings = msgspec.structs.replace(
        settings_for("paper"), images=str(pictures), steps=4, rays=16, cells=16
    )
    whole = sections_of(checkpoint, settings)
    token = CancelToken()

    def stop(event):
        if event.message.startswith("step 2"):
            token.cancel()

    with pytest.raises(Cancelled):
        sections_of(checkpoint, settings, Progress(stop, token), tmp_path)
    steps = []
    assert (
        sections_of(checkpoint, settings, Progress(lambda event: steps.append(event.message)), tmp_path)
        == whole
    )
    assert not any(message.startswith("step 1,") for message in steps)


def test_the_papers_method_without_retraining_needs_no_pictures(checkpoint):
    settings = msgspec.structs.replace(settings_for("paper"), steps=0, cells=16)
    field = encode_field(load_checkpoint([checkpoint]), settings, CPU, Progress())
    assert len(field.networks) == 2
    with pytest.raises(InvalidRequestError, match="pictures"):
        encode_field(load_checkpoint([checkpoint]), settings_for("paper"), CPU, Progress())


def test_a_network_alone_is_coded_and_the_papers_method_says_what_it_lacks(tmp_path):
    alone = write_blob(tmp_path / "alone.tar", pair=False)
    assert 17 in sections_of(alone, tiny())
    with pytest.raises(UnsupportedSceneError, match="coarse"):
        sections_of(alone, msgspec.structs.replace(settings_for("paper"), steps=0))


def test_one_bad_file_among_good_ones_is_named(checkpoint, tmp_path):
    (tmp_path / "broken.tar").write_bytes(checkpoint.read_bytes()[:500])
    report = scene_codec.encode(
        [checkpoint, tmp_path / "broken.tar"], tmp_path / "both.nscene", settings=TINY, device="cpu"
    )
    assert [item.name for item in report.objects] == ["blob"]
    assert [failure.name for failure in report.failures] == ["broken"]


def test_a_field_can_be_added_to_a_file_with_settings_of_its_own(checkpoint, pictures, tmp_path):
    scene_codec.encode(checkpoint, tmp_path / "set.nscene", settings=TINY, device="cpu")
    first = scene_codec.inspect(tmp_path / "set.nscene").objects[0]
    other = write_blob(tmp_path / "other.tar", pair=False)
    settings = {**TINY, "images": str(pictures)}
    report = scene_codec.add(tmp_path / "set.nscene", other, preset="small", settings=settings, device="cpu")
    assert (report.preset, report.changed) == ("small", settings)
    summary = scene_codec.inspect(tmp_path / "set.nscene")
    measured = [item.details["field"][0]["psnr_to_training_pictures"] for item in summary.objects]
    assert measured[0] is None
    assert measured[1] > 10.0
    assert [item.name for item in summary.objects] == ["blob", "other"]
    assert summary.objects[0].sections == first.sections


def test_an_empty_network_and_a_wrong_space_are_refused_with_advice(tmp_path):
    far_away = dataclasses.replace(DOMAIN, low=(1.0, 1.0, 1.0), high=(1.4, 1.4, 1.4))
    path = write_blob(tmp_path / "blob.tar", domain=far_away)
    with pytest.raises(UnsupportedSceneError, match="no density"):
        sections_of(path, tiny())


def test_contradicting_settings_are_refused():
    for wrong in (
        {"near": 5.0, "far": 2.0},
        {"method": "paper", "neurons": 0.5},
        {"prune": 1.0},
        {"stepz": 1},
    ):
        with pytest.raises(InvalidRequestError):
            codec_named("nerf-pruned").settings(None, wrong)
    for preset, (_, settings) in PRESETS.items():
        assert codec_named("nerf-pruned").settings(preset, {}) == settings


def test_the_share_rises_to_what_is_wanted_and_stays():
    shares = [share_at(done, 0.8) for done in np.linspace(0.0, 1.0, 50)]
    assert shares[0] == 0.0
    assert all(one <= other for one, other in itertools.pairwise(shares))
    assert share_at(SCHEDULE_END, 0.8) == share_at(1.0, 0.8) == 0.8


@pytest.mark.parametrize("share", [0.0, 0.35, 0.9])
def test_one_threshold_over_all_networks_prunes_the_smallest_weights(share):
    networks = [blob_network(seed=1), blob_network(seed=2)]
    before = [layer.weight.clone() for network in networks for layer in network.linear_layers().values()]
    masks = prune_by_magnitude(networks, share)
    kept = torch.cat([mask.reshape(-1) for mask in masks])
    sizes = torch.cat([weight.abs().reshape(-1) for weight in before])
    assert int((~kept).sum()) == int(share * len(kept))
    if share:
        assert float(sizes[~kept].max()) <= float(sizes[kept].min())
    after = [layer.weight for network in networks for layer in network.linear_layers().values()]
    for weight, mask, original in zip(after, masks, before, strict=True):
        assert torch.equal(weight, original * mask)


def test_both_readings_of_the_learning_rate(checkpoint):
    pair = load_checkpoint([checkpoint])
    assert stage_rate(dataclasses.replace(pair, learning_rate=3e-4)) == 3e-4
    late = dataclasses.replace(pair, learning_rate=None, step=250_000)
    assert stage_rate(late) == pytest.approx(5e-5)
    assert start_rate(late) == 5e-4
    assert start_rate(dataclasses.replace(pair, layout="krrish94")) == 5e-3


def test_masked_weights_are_zero_and_learn_while_they_may_return():
    network = QuantisedNetwork(blob_network())
    layer = network.layer(0)
    layer.mask.zero_()
    for may_return in (True, False):
        network.let_return(may_return)
        layer.weight.grad = None
        rounded = layer()
        assert not rounded.weight.any()
        (rounded.weight * torch.randn_like(rounded.weight)).sum().backward()
        assert bool(layer.weight.grad.any()) == may_return
