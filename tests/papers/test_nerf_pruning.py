"""Claims of "Neural 3D Scene Compression via Model Compression" (Isik, 2021) on networks made here."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scene_codec.codecs.nerf_pruned.paper_method import RetrainingPlan, prune_by_magnitude, retrain
from scene_codec.progress import Progress
from scene_codec.radiance.exact_rendering import SamplingPlan
from scene_codec.radiance.field import render_view
from scene_codec.radiance.nerf_field import NerfPairField
from scene_codec.radiance.posed_images import load_posed_images
from scene_codec.radiance.ray_supply import PictureRays

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "codecs"))
from nerf_checkpoints import DOMAIN, blob_network, write_pictures

SAMPLING = SamplingPlan(coarse=24, fine=24)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return load_posed_images(write_pictures(tmp_path_factory.mktemp("pictures"), side=12), "train")


def error_of(networks, pictures):
    field = NerfPairField(*networks, DOMAIN, SAMPLING)
    errors = [
        np.square(render_view(field, image.camera).colour - image.load(True)).mean()
        for image in pictures.images
    ]
    return float(np.mean(errors))


def pruned_pair(share):
    networks = (blob_network(seed=1), blob_network())
    return networks, prune_by_magnitude([networks[1], networks[0]], share)


def test_more_pruning_costs_more(pictures):
    errors = [error_of(pruned_pair(share)[0], pictures) for share in (0.0, 0.5, 0.9)]
    assert errors[0] < 1e-4
    assert errors[0] < errors[1] <= errors[2]


def test_retraining_with_the_mask_fixed_gets_back_a_part_of_what_was_lost(pictures):
    networks, masks = pruned_pair(0.7)
    before = error_of(networks, pictures)
    rays = PictureRays(pictures, DOMAIN)
    plan = RetrainingPlan(rate=5e-3, steps=40, rays=128, sampling=SAMPLING)
    retrain(networks, masks, rays.draw, DOMAIN, plan, Progress())
    assert error_of(networks, pictures) < 0.8 * before
    weights = [
        layer.weight for network in (networks[1], networks[0]) for layer in network.linear_layers().values()
    ]
    for weight, mask in zip(weights, masks, strict=True):
        assert not bool(weight[~mask].any())


def test_retraining_is_repeatable(pictures):
    rays = PictureRays(pictures, DOMAIN)
    results = []
    for _ in range(2):
        networks, masks = pruned_pair(0.5)
        plan = RetrainingPlan(rate=1e-3, steps=3, rays=64, sampling=SAMPLING, seed=7)
        retrain(networks, masks, rays.draw, DOMAIN, plan, Progress())
        results.append(torch.cat([own.reshape(-1) for own in networks[1].parameters()]))
    assert torch.equal(*results)
