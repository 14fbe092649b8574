"""How far a picture is from its reference: PSNR and SSIM as papers on radiance fields report them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


def psnr(reference: NDArray[np.floating], image: NDArray[np.floating]) -> float:
    """Return the peak signal-to-noise ratio in dB of values in [0, 1]: -10 log10 of the mean squared error.

    reference, image : of one shape; infinity when they are equal
    """
    _check_shapes(reference, image)
    error = np.mean(np.square(np.asarray(reference, np.float64) - np.asarray(image, np.float64)))
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def ssim(reference: NDArray[np.floating], image: NDArray[np.floating]) -> float:
    """Return the mean structural similarity of two pictures with values in [0, 1], 1 when they are equal.

    reference, image : (height, width) or (height, width, channels), at least 11 pixels wide and high

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: Gaussian
    window of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03, averaged over all places where the window fits,
    and over the channels. scikit-image gives the same with `gaussian_weights=True,
    use_sample_covariance=False, data_range=1`.

    Raises `ValueError` for pictures smaller than the window or of different shapes.
    """
    _check_shapes(reference, image)
    if reference.ndim not in (2, 3) or min(reference.shape[:2]) < WINDOW:
        raise ValueError(f"SSIM needs pictures of {WINDOW} x {WINDOW} pixels or more, not {reference.shape}")
    first, second = (
        np.asarray(picture, np.float64).reshape(*picture.shape[:2], -1) for picture in (reference, image)
    )
    channels = range(first.shape[2])
    return float(np.mean([_channel_ssim(first[..., part], second[..., part]) for part in channels]))


def _channel_ssim(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the mean SSIM of one channel (equation 13 of the paper)."""
    mean_1, mean_2 = _smooth(first), _smooth(second)
    variance_1 = _smooth(first * first) - mean_1 * mean_1
    variance_2 = _smooth(second * second) - mean_2 * mean_2
    covariance = _smooth(first * second) - mean_1 * mean_2
    c1, c2 = K1**2, K2**2
    numerator = (2.0 * mean_1 * mean_2 + c1) * (2.0 * covariance + c2)
    denominator = (mean_1**2 + mean_2**2 + c1) * (variance_1 + variance_2 + c2)
    return float(np.mean(numerator / denominator))


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weighted means under the window where it fits, one axis after the other."""
    reach = WINDOW // 2
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    down = ndimage.correlate1d(values, weights, axis=0)[reach:-reach]
    smooth: NDArray[np.float64] = ndimage.correlate1d(down, weights, axis=1)[:, reach:-reach]
    return smooth


def _check_shapes(reference: NDArray[np.floating], image: NDArray[np.floating]) -> None:
    if reference.shape != image.shape or reference.size == 0:
        raise ValueError(f"pictures of the shapes {reference.shape} and {image.shape} cannot be compared")
