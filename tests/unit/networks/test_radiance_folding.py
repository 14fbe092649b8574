"""Folding of linear layers: fewer parameters, the same field."""

import pytest
import torch

from scene_codec.networks.radiance_folding import folded
from scene_codec.networks.radiance_mlp import RadianceMlp, RadianceShape

ORIGINAL = RadianceShape(
    position_octaves=10, direction_octaves=4, trunk=(256,) * 8, skips=(5,), bottleneck=256, view=(128,)
)
FLEXIBLE = RadianceShape(
    position_octaves=10,
    direction_octaves=4,
    trunk=(128,) * 4,
    linear=(0,),
    bottleneck=128,
    bottleneck_relu=True,
    view=(64,),
)


def small(trunk, skips, linear, bottleneck=0):
    return RadianceShape(
        position_octaves=1,
        direction_octaves=1,
        trunk=trunk,
        skips=skips,
        linear=linear,
        bottleneck=bottleneck,
        view=(5, 4),
    )


def network_of(shape):
    generator = torch.Generator().manual_seed(3)
    network = RadianceMlp(shape, generator)
    with torch.no_grad():
        for layer in network.linear_layers().values():
            layer.bias.normal_(std=0.2, generator=generator)
    return network


def outputs(network):
    generator = torch.Generator().manual_seed(4)
    directions = torch.nn.functional.normalize(torch.randn(200, 3, generator=generator), dim=1)
    with torch.no_grad():
        return network(2 * torch.rand(200, 3, generator=generator) - 1, directions)


def check_folds(shape, parameters):
    network = network_of(shape)
    smaller = folded(network)
    assert (shape.parameters, smaller.shape.parameters) == parameters
    assert sum(parameter.numel() for parameter in smaller.parameters()) == parameters[1]
    for got, wanted in zip(outputs(smaller), outputs(network), strict=True):
        assert (got - wanted).norm() <= 1e-4 * wanted.norm()  # float32 sums in another order
    again = folded(smaller)
    assert again.shape == smaller.shape
    for first, second in zip(smaller.parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second)
    return smaller


def test_the_bottleneck_of_the_original_goes_into_its_view_layer():
    assert check_folds(ORIGINAL, (595_844, 530_052)).shape.bottleneck == 0


def test_the_first_layer_of_the_flexible_network_goes_into_the_second():
    shape = check_folds(FLEXIBLE, (84_548, 68_036)).shape
    assert (shape.trunk, shape.linear, shape.bottleneck) == ((128,) * 3, (), 128)


@pytest.mark.parametrize(
    ("trunk", "skips", "linear", "left", "skips_left"),
    [
        ((9, 9, 9, 9), (1,), (0,), 3, ()),
        ((9, 9, 9, 9), (2,), (1,), 3, (1,)),
        ((9, 9, 9, 9), (1,), (1,), 3, (1,)),
        ((12, 12, 12, 12), (1, 2, 3), (1,), 3, (1, 2)),
        ((9, 9, 9, 9), (3,), (0, 1, 2), 1, ()),
    ],
)
def test_skips_at_linear_layers_are_added_up(trunk, skips, linear, left, skips_left):
    shape = small(trunk, skips, linear)
    encoding = shape.position_values
    parameters = sum(
        (encoding * (i == 0 or i in skips_left) + trunk[0] * (i > 0) + 1) * trunk[0] for i in range(left)
    )
    heads = shape.parameters - sum((a + 1) * b for a, b in zip(shape.trunk_inputs, shape.trunk, strict=True))
    smaller = check_folds(shape, (shape.parameters, parameters + heads))
    assert smaller.shape.skips == skips_left
    assert smaller.shape.linear == ()


def test_layers_stay_where_folding_would_not_save_or_is_not_exact():
    narrow = small((9, 2, 9, 9), (), (1,), bottleneck=2)
    last = small((9, 9), (), (1,))
    relu = small((9, 9), (), ())
    for shape in (narrow, last, relu):
        network = network_of(shape)
        same = folded(network)
        assert same.shape == shape
        for first, second in zip(network.parameters(), same.parameters(), strict=True):
            assert torch.equal(first, second)
            assert first.data_ptr() != second.data_ptr()
