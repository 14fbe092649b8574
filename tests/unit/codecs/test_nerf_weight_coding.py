"""Integer layers to bytes and back, and what is done to them before."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.codecs.nerf_pruned.integer_networks import plain_integer_layers, share_of_zeros
from scene_codec.codecs.nerf_pruned.silent_neurons import without_silent_neurons
from scene_codec.codecs.radiance_parts.row_steps import (
    HIGHEST_EXPONENT,
    LOWEST_EXPONENT,
    in_steps_to_values,
    step_values,
)
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer, decode_layers, encode_layers
from scene_codec.entropy.packing import pack_integers
from scene_codec.errors import CorruptFileError
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.networks.radiance_neurons import keep_neurons, neuron_scores, strongest
from scene_codec.networks.radiance_shape import RadianceShape

SHAPE = RadianceShape(
    position_octaves=2, direction_octaves=1, trunk=(12, 10, 9), skips=(2,), bottleneck=7, view=(6,)
)


def layers_of(seed, sizes, spread=3.0):
    generator = np.random.default_rng(seed)
    layers = []
    for rows, columns in sizes:
        scale = np.exp(generator.normal(0.0, 1.0, (rows, 1)) + generator.normal(0.0, 1.0, columns))
        layers.append(
            IntegerLayer(
                np.rint(generator.laplace(0.0, spread, (rows, columns)) * scale).astype(np.int32),
                np.rint(generator.normal(0.0, 60.0, rows)).astype(np.int32),
                generator.integers(-40, -20, rows).astype(np.int32),
                int(generator.integers(-50, -30)),
            )
        )
    return layers


def assert_same_layers(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        np.testing.assert_array_equal(one.biases, other.biases)
        np.testing.assert_array_equal(one.exponents, other.exponents)
        assert one.bias_exponent == other.bias_exponent


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 20)), min_size=1, max_size=5),
    st.sampled_from([0.0, 0.1, 3.0, 1e4]),
)
def test_layers_come_back_whatever_is_in_them(seed, sizes, spread):
    layers = layers_of(seed, sizes, spread)
    assert_same_layers(decode_layers(encode_layers(layers), sizes), layers)


def test_rows_and_columns_of_different_scale_cost_less_than_a_table_each_layer():
    sizes = [(128, 63), (128, 128), (128, 128), (3, 128)]
    layers = layers_of(1, sizes)
    plain = sum(len(pack_integers([layer.weights])) for layer in layers)
    assert len(encode_layers(layers)) < 0.93 * plain


def test_layers_cut_short_or_flipped_raise_one_error_type_or_are_other_layers():
    sizes = [(6, 9), (3, 6)]
    layers = layers_of(3, sizes)
    data = encode_layers(layers)
    flipped = [
        bytes([*data[:at], data[at] ^ bit, *data[at + 1 :]]) for at in range(len(data)) for bit in (1, 128)
    ]
    refused = 0
    for damaged in [data[:length] for length in range(len(data))] + flipped:
        try:
            found = decode_layers(damaged, sizes)
        except CorruptFileError:
            refused += 1
            continue
        assert [layer.weights.shape for layer in found] == sizes
    assert refused > len(data)


def test_bytes_behind_the_layers_are_refused():
    sizes = [(5, 9), (3, 5)]
    data = encode_layers(layers_of(2, sizes))
    with pytest.raises(CorruptFileError):
        decode_layers(data + b"\x01", sizes)


def test_steps_are_quarter_octaves_to_the_last_bit():
    exponents = np.arange(LOWEST_EXPONENT, HIGHEST_EXPONENT + 1)
    values = step_values(exponents)
    np.testing.assert_allclose(values, 2.0 ** (exponents / 4), rtol=1e-15)
    assert (values[4:] == 2.0 * values[:-4]).all()


def test_values_are_integers_times_the_step_of_their_row():
    values = in_steps_to_values(np.array([[1, -2], [3, 0]]), np.array([-4, 8]))
    np.testing.assert_array_equal(values, np.array([[0.5, -1.0], [12.0, 0.0]], np.float32))


def network_of(seed=0, shape=SHAPE):
    return RadianceMlp(shape, torch.Generator().manual_seed(seed)).requires_grad_(False)


def seen(network, count=50):
    generator = torch.Generator().manual_seed(9)
    positions = torch.rand((count, 3), generator=generator) * 2 - 1
    views = torch.nn.functional.normalize(torch.randn((count, 3), generator=generator), dim=1)
    density, colour = network(positions, views)
    return torch.cat([density[:, None], colour], dim=1)


def test_plain_layers_are_as_good_as_floats():
    network = network_of()
    layers = plain_integer_layers(list(network.linear_layers().values()))
    for layer, own in zip(layers, network.linear_layers().values(), strict=True):
        values = in_steps_to_values(layer.weights, layer.exponents)
        np.testing.assert_allclose(values, own.weight.numpy(), atol=2e-5 * float(own.weight.abs().max()))


@pytest.mark.parametrize(
    "gone", [{"trunk.0": [0, 5]}, {"trunk.2": [8], "bottleneck": [0, 1]}, {"view.0": [3]}]
)
def test_silent_neurons_go_and_nothing_changes(gone):
    network = network_of()
    heard_by = {"trunk.0": [("trunk.1", 0)], "trunk.2": [("density", 0), ("bottleneck", 0)],
                "bottleneck": [("view.0", 0)], "view.0": [("colour", 0)]}  # fmt: skip
    for name, neurons in gone.items():
        for who, start in heard_by[name]:
            network.linear_layers()[who].weight[:, [start + own for own in neurons]] = 0.0
    layers = plain_integer_layers(list(network.linear_layers().values()))
    shape, smaller = without_silent_neurons(network.shape, layers)
    widths = {f"trunk.{index}": width for index, width in enumerate(shape.trunk)}
    widths |= {"bottleneck": shape.bottleneck, "view.0": shape.view[0]}
    before = {"trunk.0": 12, "trunk.2": 9, "bottleneck": 7, "view.0": 6}
    for name, neurons in gone.items():
        assert widths[name] == before[name] - len(neurons)
    after = network_from(shape, smaller)
    torch.testing.assert_close(seen(after), seen(network_from(network.shape, layers)), atol=1e-5, rtol=1e-5)


def network_from(shape, layers):
    network = RadianceMlp(shape).requires_grad_(False)
    for own, layer in zip(network.linear_layers().values(), layers, strict=True):
        own.weight.copy_(torch.from_numpy(in_steps_to_values(layer.weights, layer.exponents)))
        bias = in_steps_to_values(layer.biases, np.full_like(layer.exponents, layer.bias_exponent))
        own.bias.copy_(torch.from_numpy(bias))
    return network


def test_a_network_of_zeros_keeps_a_neuron_a_layer():
    network = network_of()
    for layer in network.linear_layers().values():
        layer.weight.zero_()
    layers = plain_integer_layers(list(network.linear_layers().values()))
    shape, smaller = without_silent_neurons(network.shape, layers)
    assert (shape.trunk, shape.view, shape.bottleneck) == ((1, 1, 1), (1,), 1)
    assert share_of_zeros(shape, smaller, network.shape) == 1.0


def test_the_strongest_neurons_are_those_that_are_heard():
    network = network_of()
    network.trunk[1].weight[:, [2, 7]] = 0.0
    generator = torch.Generator().manual_seed(3)
    positions = 4 * torch.rand((200, 3), generator=generator) - 2
    views = torch.nn.functional.normalize(torch.randn((200, 3), generator=generator), dim=1)
    scores = neuron_scores(network, positions, views)
    assert (scores["trunk.0"] == 0).nonzero().squeeze(1).tolist() == [2, 7]
    kept = strongest(scores, 10 / 12)
    assert not {2, 7} & set(kept["trunk.0"].tolist())
    smaller = keep_neurons(network, {**strongest(scores, 1.0), "trunk.0": kept["trunk.0"]})
    torch.testing.assert_close(seen(smaller), seen(network), atol=1e-5, rtol=1e-5)
