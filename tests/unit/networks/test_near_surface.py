"""Decoding near the surface gives the grid that marching cubes needs, whatever lies between the samples."""

import pytest
import torch

from scene_codec.networks.auto_decoder import AutoDecoder
from scene_codec.networks.decoder_shape import DecoderShape
from scene_codec.networks.near_surface import decoded_near_surface

SIDE = 64
TRUNCATION = 3.0


def truncated(distance):
    """Distances in cells as the codec stores them."""
    return (distance / TRUNCATION).clamp(-1.0, 1.0)


def shapes():
    """A ball, a sheet three cells thick and a ball of two cells, all in one grid."""
    x, y, z = torch.meshgrid(*[torch.arange(SIDE, dtype=torch.float32)] * 3, indexing="ij")
    ball = torch.sqrt((x - 22.3) ** 2 + (y - 30.1) ** 2 + (z - 31.7) ** 2) - 13.0
    sheet = torch.maximum((x - 50.4).abs() - 1.5, torch.maximum((y - 32).abs(), (z - 32).abs()) - 20.0)
    pebble = torch.sqrt((x - 9.5) ** 2 + (y - 53.5) ** 2 + (z - 9.5) ** 2) - 2.0
    return truncated(torch.minimum(torch.minimum(ball, sheet), pebble))


@pytest.fixture(scope="module", params=[(1, True), (4, False)], ids=["distances", "displacements"])
def learned(request):
    """A decoder that has learned these shapes, roughly, and their latents."""
    outputs, residual = request.param
    shape = DecoderShape(
        resolution=SIDE, latent_channels=8, widths=(24, 16, 12, 8), outputs=outputs, pointwise_head=True,
        residual=residual,
    )  # fmt: skip
    network = AutoDecoder(shape, torch.Generator().manual_seed(1))
    latents = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    goal = shapes()
    optimiser = torch.optim.Adam([*network.parameters(), latents], lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        (network(latents[None])[0, 0] - goal).abs().mean().backward()
        optimiser.step()
    return network.requires_grad_(False), latents.detach()


def mixed_cells(values):
    """The vertices of cells whose corners have different signs."""
    inside = (values < 0.0).float()[None, None]
    some = torch.nn.functional.max_pool3d(inside, 2, 1)
    all_of = -torch.nn.functional.max_pool3d(-inside, 2, 1)
    mixed = torch.nn.functional.pad((some != all_of).float(), (1,) * 6)
    return torch.nn.functional.max_pool3d(mixed, 2, 1)[0, 0] > 0.0


def test_cells_with_a_surface_have_the_values_of_the_whole_network(learned):
    network, latents = learned
    dense, sparse = network(latents[None])[0], decoded_near_surface(network, latents)
    assert sparse.shape == dense.shape
    at = mixed_cells(dense[0])
    assert 2_000 < at.sum() < 100_000
    torch.testing.assert_close(sparse[:, at], dense[:, at], rtol=0.0, atol=1e-5)
    assert torch.equal(sparse[0] < 0.0, dense[0] < 0.0)


def test_far_from_the_surface_nothing_is_asked(learned, monkeypatch):
    network, latents = learned
    asked = []
    whole = AutoDecoder.last_block_at
    monkeypatch.setattr(
        AutoDecoder, "last_block_at", lambda self, rows, at: asked.append(len(at)) or whole(self, rows, at)
    )
    decoded_near_surface(network, latents)
    assert sum(asked) < 0.6 * (SIDE // 2) ** 3


def test_smooth_noise_is_evaluated_wherever_signs_change():
    shape = DecoderShape(
        resolution=32, latent_channels=4, widths=(8, 6, 5), outputs=1, pointwise_head=True, residual=True
    )
    network = AutoDecoder(shape, torch.Generator().manual_seed(3)).requires_grad_(False)
    latents = torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(4))
    network.head.bias -= network(latents[None]).median()
    dense, sparse = network(latents[None])[0], decoded_near_surface(network, latents)
    at = mixed_cells(dense[0])
    assert at.any()
    torch.testing.assert_close(sparse[:, at], dense[:, at], rtol=0.0, atol=1e-5)


def test_a_grid_without_a_surface_has_one_sign(learned):
    network, latents = learned
    outside = AutoDecoder(network.shape)
    outside.load_state_dict(network.state_dict())
    outside.requires_grad_(False).head.bias[0] += 10.0
    assert (decoded_near_surface(outside, latents)[0] > 0.0).all()
