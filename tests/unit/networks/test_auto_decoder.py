"""The sparse evaluation of the decoder is the dense one, at chosen places."""

import pytest
import torch

from scene_codec.networks.auto_decoder import AutoDecoder
from scene_codec.networks.decoder_shape import DecoderShape, doublings
from scene_codec.networks.surface_support import SurfaceSupport, child_offsets

WIDTHS = (8, 6, 5, 4, 3, 3)


def make_decoder(resolution, outputs=1, residual=True):
    shape = DecoderShape(
        resolution=resolution,
        latent_channels=4,
        widths=WIDTHS[: doublings(resolution)],
        outputs=outputs,
        pointwise_head=True,
        residual=residual,
    )
    return AutoDecoder(shape, torch.Generator().manual_seed(1))


def wanted_sites(resolution, share, seed=0):
    side = resolution // 2
    wanted = torch.rand(side, side, side, generator=torch.Generator().manual_seed(seed)) < share
    wanted[0, 0, 0] = wanted[-1, -1, -1] = True  # corners see the padding
    return wanted


@pytest.mark.parametrize(
    ("resolution", "outputs", "residual"), [(32, 1, True), (64, 4, False), (64, 4, True), (128, 1, True)]
)
def test_sparse_evaluation_gives_the_values_of_the_dense_grid(resolution, outputs, residual):
    decoder = make_decoder(resolution, outputs, residual)
    latents = torch.randn(2, 4, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    supports = [SurfaceSupport.around(wanted_sites(resolution, 0.01, seed)) for seed in (0, 1)]
    with torch.no_grad():
        dense = decoder(latents)
        sparse = decoder(latents, supports)
    for grid, values, support in zip(dense, sparse, supports, strict=True):
        at = 2 * support.sites[:, None, :] + child_offsets(grid.device)[None]
        expected = grid[:, at[..., 0], at[..., 1], at[..., 2]].permute(1, 2, 0)
        # Sums in another order: float32 rounding of values around 0.1.
        torch.testing.assert_close(values, expected, rtol=0.0, atol=1e-6)


def test_sparse_gradients_are_those_of_the_dense_grid():
    decoder = make_decoder(64)
    latents = torch.randn(1, 4, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    support = SurfaceSupport.around(wanted_sites(64, 0.02))
    at = 2 * support.sites[:, None, :] + child_offsets(latents.device)[None]
    decoder(latents)[0][:, at[..., 0], at[..., 1], at[..., 2]].square().sum().backward()
    expected = [parameter.grad.clone() for parameter in decoder.parameters()]
    decoder.zero_grad()
    decoder(latents, [support])[0].square().sum().backward()
    for parameter, gradient in zip(decoder.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-4)


def test_support_of_nothing_gives_no_values():
    decoder = make_decoder(64)
    support = SurfaceSupport.around(torch.zeros(32, 32, 32, dtype=torch.bool))
    assert decoder(torch.zeros(1, 4, 4, 4, 4), [support])[0].shape == (0, 8, 1)


def test_the_same_seed_gives_the_same_network():
    first, second = make_decoder(32), make_decoder(32)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
