"""Structural similarity of grids, against its definition written with plain convolutions."""

import pytest
import torch
import torch.nn.functional as F

from scene_codec.metrics.grid_similarity import SIGMA, STABILISERS, WINDOW, structural_similarity


def grids(seed, count=2, side=12):
    return torch.rand(count, 3, side, side, side, generator=torch.Generator().manual_seed(seed))


def by_definition(first, second):
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    line = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    window = torch.einsum("i,j,k->ijk", line, line, line)
    window = (window / window.sum())[None, None]

    def mean(values):
        return F.conv3d(values.reshape(-1, 1, *values.shape[2:]).double(), window, padding=WINDOW // 2)

    mean_1, mean_2 = mean(first), mean(second)
    variance_1, variance_2 = mean(first * first) - mean_1**2, mean(second * second) - mean_2**2
    covariance = mean(first * second) - mean_1 * mean_2
    c1, c2 = STABILISERS
    ratio = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    return (ratio / ((mean_1**2 + mean_2**2 + c1) * (variance_1 + variance_2 + c2))).mean()


def test_it_is_the_definition_with_a_gaussian_window_of_five():
    first, second = grids(0), grids(1)
    expected = float(by_definition(first, second))
    # float32 moments of values around 1 against float64: cancellation in the variances.
    assert float(structural_similarity(first, second)) == pytest.approx(expected, abs=1e-4)


def test_a_grid_is_entirely_similar_to_itself_and_less_so_to_another():
    first = grids(0)
    assert float(structural_similarity(first, first)) == pytest.approx(1.0, abs=1e-5)
    assert float(structural_similarity(first, 1.0 - first)) < 0.0


def test_it_can_be_maximised_by_its_gradient():
    target, guess = grids(0, count=1), grids(1, count=1).requires_grad_()
    before = structural_similarity(guess, target)
    before.backward()
    with torch.no_grad():
        assert float(structural_similarity(guess + 20.0 * guess.grad, target)) > float(before)
