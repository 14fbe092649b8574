"""How many nodes of a grid are left out: as many as the picture and the bits together say."""

import torch
import voxel_balls

from scene_codec.codecs.radiance_vqrf.grid_pruning import restricted, worth_keeping
from scene_codec.voxel_fields.node_lattice import NodeLattice


def squares_of(field):
    """Return a different square for each node."""
    return torch.linspace(1.0, 1e-4, len(field.raw_density))


def kept(error_of, error_per_node):
    field = voxel_balls.ball("plain")
    return worth_keeping(field, squares_of(field), error_of, error_per_node)


def test_nodes_without_which_much_is_lost_stay():
    everything = len(voxel_balls.ball("plain").raw_density)
    loses_all = kept(lambda field: 1e6 * (everything - len(field.raw_density)), 1.0)
    loses_nothing = kept(lambda field: 0.0, 1.0)
    assert loses_all.sum() > loses_nothing.sum() > 0


def test_nodes_of_the_smallest_squares_are_left_out():
    keep = kept(lambda field: 0.0, 2.0)
    squares = squares_of(voxel_balls.ball("plain"))
    assert squares[keep].min() > squares[~keep].max()


def test_nothing_is_worth_infinitely_many_bits():
    assert not kept(lambda field: 0.0, 1e30).any()


def test_of_numbers_of_nodes_the_cheapest_one_is_taken():
    field = voxel_balls.ball("plain")
    seen = {}

    def error_of(smaller):
        count = len(smaller.raw_density)
        seen[count] = (len(seen) - 2) ** 2 * 1e4  # the third number of nodes loses least
        return seen[count]

    keep = worth_keeping(field, squares_of(field), error_of, 5.0)
    assert int(keep.sum()) == min(seen, key=lambda count: seen[count] + 5.0 * count)


def test_a_restricted_field_holds_the_chosen_nodes_values():
    field = voxel_balls.ball("plain")
    keep = torch.zeros(len(field.raw_density), dtype=torch.bool)
    keep[::7] = True
    smaller = restricted(field, keep)
    assert isinstance(smaller.index.lattice, NodeLattice)
    torch.testing.assert_close(smaller.raw_density, field.raw_density[keep])
    torch.testing.assert_close(smaller.features, field.features[keep])
