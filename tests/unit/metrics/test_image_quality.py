"""PSNR and SSIM of pictures, against their formulas."""

import math

import numpy as np
import pytest

from scene_codec.metrics.image_quality import K1, SIGMA, WINDOW, psnr, ssim


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def test_equal_pictures_have_infinite_psnr_and_an_ssim_of_one():
    image = noise((17, 23, 3))
    assert psnr(image, image) == math.inf
    assert ssim(image, image.copy()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("shift", "decibels"), [(1.0, 0.0), (0.1, 20.0), (0.01, 40.0)])
def test_psnr_of_a_constant_error_is_that_of_its_square(shift, decibels):
    image = np.zeros((5, 4, 3))
    assert psnr(image, image + shift) == pytest.approx(decibels)


def test_ssim_of_constant_pictures_is_the_comparison_of_their_means():
    first, second = 0.3, 0.5
    expected = (2 * first * second + K1**2) / (first**2 + second**2 + K1**2)
    assert ssim(np.full((20, 12, 3), first), np.full((20, 12, 3), second)) == pytest.approx(
        expected, abs=1e-9
    )


def test_ssim_is_what_the_definition_gives_window_by_window():
    first, second = noise((13, 12)).astype(np.float64), noise((13, 12), 1).astype(np.float64)
    axis = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * SIGMA**2))
    weights /= weights.sum()
    found = []
    for row in range(13 - WINDOW + 1):
        for column in range(12 - WINDOW + 1):
            window = np.s_[row : row + WINDOW, column : column + WINDOW]
            one, two = first[window], second[window]
            mean_1, mean_2 = (weights * one).sum(), (weights * two).sum()
            variance_1 = (weights * (one - mean_1) ** 2).sum()
            variance_2 = (weights * (two - mean_2) ** 2).sum()
            covariance = (weights * (one - mean_1) * (two - mean_2)).sum()
            luminance = (2 * mean_1 * mean_2 + 1e-4) / (mean_1**2 + mean_2**2 + 1e-4)
            found.append(luminance * (2 * covariance + 9e-4) / (variance_1 + variance_2 + 9e-4))
    assert ssim(first, second) == pytest.approx(np.mean(found), abs=1e-12)


def test_ssim_of_colours_is_the_mean_over_channels():
    first, second = noise((15, 16, 3)), noise((15, 16, 3), 1)
    assert ssim(first, second) == pytest.approx(
        np.mean([ssim(first[..., part], second[..., part]) for part in range(3)])
    )


def test_pictures_without_room_for_a_window_are_refused():
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(noise((10, 40, 3)), noise((10, 40, 3)))


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_pictures_of_different_shapes_are_refused(measure):
    with pytest.raises(ValueError, match="shapes"):
        measure(noise((12, 12, 3)), noise((12, 12, 1)))
