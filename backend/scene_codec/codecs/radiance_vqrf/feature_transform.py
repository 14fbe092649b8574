"""Coordinates of features in which an error counts the same in all directions and most values are small.

With G, how much pictures change with features, and A its root, errors of A f count the same everywhere; a
rotation U by the principal axes of A f then leaves the first coordinates large and the others small. Rounding
U A f with one step is best at high rates, and gives no bits to what cannot be seen (Goyal 2001, transform
coding with a weighted error).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_SHARE = 1e-4
"""Of the strongest direction's sensitivity: directions that seem to count less count so much."""


@dataclass(frozen=True, eq=False)
class FeatureTransform:
    """A linear map and its inverse.

    forward : (c, c), coordinates are features @ forward
    backward : (c, c), features are coordinates @ backward
    sensitivity : of the mean squared error to a squared unit of any coordinate of a node of mean importance
    """

    forward: Tensor
    backward: Tensor
    sensitivity: float


def feature_transform(features: Tensor, weights: Tensor, coupling: Tensor) -> FeatureTransform:
    """Return the map for features (rows, c).

    weights : (rows,) how much each node counts
    coupling : (c, c) `NodeStatistics.coupling`
    """
    double = features.double()
    shares = weights.double() / weights.double().sum().clamp_min(1e-300)
    strengths, axes = torch.linalg.eigh(coupling.double() / len(features))
    strengths = strengths.clamp_min(_LEAST_SHARE * float(strengths.max()) + 1e-300)
    scale = float(strengths.mean())
    root = axes * (strengths / scale).sqrt() @ axes.t()
    whitened = double @ root
    covariance = whitened.t() @ (whitened * shares[:, None])
    variances, rotation = torch.linalg.eigh(covariance)
    rotation = rotation[:, variances.argsort(descending=True)]
    inverse = rotation.t() @ (axes * (scale / strengths).sqrt() @ axes.t())
    return FeatureTransform((root @ rotation).float(), inverse.float(), scale)
