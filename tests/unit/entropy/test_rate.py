"""The estimated bits of training agree with the bytes that are written, and their gradients are of use."""

import numpy as np
import pytest
import torch

from scene_codec.entropy.fitting import fit_table
from scene_codec.entropy.range_coding import encode_symbols
from scene_codec.entropy.rate import RateModel, laplace_bits
from scene_codec.entropy.straight_through import round_straight_through

KINDS = {
    "laplace": lambda r, n: r.laplace(0, 1.5, n),
    "narrow laplace": lambda r, n: r.laplace(0, 0.3, n),
    "gauss": lambda r, n: r.normal(0, 3, n),
    "narrow gauss": lambda r, n: r.normal(0, 0.4, n),
    "shifted gauss": lambda r, n: r.normal(0.4, 1.5, n),
    "broad gauss": lambda r, n: r.normal(0, 100, n),
    "student": lambda r, n: r.standard_t(3, n),
    "two laplace": lambda r, n: np.where(r.random(n) < 0.7, r.laplace(0, 1, n), r.laplace(0, 4, n)),
    "sparse": lambda r, n: r.laplace(0, 3, n) * (r.random(n) < 0.05),
    "far from zero": lambda r, n: r.laplace(1000, 4, n),
}


def rounded(kind: str, count: int) -> torch.Tensor:
    values = KINDS[kind](np.random.default_rng(3), count)
    return torch.from_numpy(np.rint(values)).float()[:, None]


def coded_bytes(values: torch.Tensor, table) -> int:
    return len(encode_symbols([(values.numpy().astype(np.int64), table)]))


@pytest.mark.parametrize("count", [1_000, 60_000, 1_000_000])
@pytest.mark.parametrize("kind", KINDS)
def test_estimate_agrees_with_the_coded_size_within_two_percent(kind, count):
    values = rounded(kind, count)
    model = RateModel(1)
    model.fit(values)
    estimate = float(model.bits(values).detach()) / 8
    # Two bytes are what the end of a stream may cost; they matter for a thousand symbols only.
    assert abs(estimate - coded_bytes(values, model.freeze()[0])) <= 0.002 * estimate + 2
    assert (
        abs(estimate - coded_bytes(values, fit_table(values.numpy().astype(np.int64)))) <= 0.02 * estimate + 2
    )


@pytest.mark.parametrize("kind", KINDS)
def test_estimate_of_a_few_values_is_right_to_three_bytes(kind):
    values = rounded(kind, 64)
    model = RateModel(1)
    model.fit(values)
    assert abs(float(model.bits(values).detach()) / 8 - coded_bytes(values, model.freeze()[0])) <= 3


def test_estimate_of_clamped_values_needs_their_limit_and_then_agrees():
    values = torch.from_numpy(np.random.default_rng(4).integers(-128, 129, (20_000, 1))).float()
    model = RateModel(1, limit=128)
    model.fit(values)
    size = coded_bytes(values, fit_table(values.numpy().astype(np.int64)))
    assert abs(float(model.bits(values).detach()) / 8 - size) <= 0.005 * size


def test_channels_have_distributions_of_their_own():
    scales = torch.tensor([0.3, 2.0, 20.0])
    values = (torch.randn(5000, 3, generator=torch.Generator().manual_seed(1)) * scales).round()
    model = RateModel(3)
    model.fit(values)
    together = model.bits(values.reshape(50, 100, 3)).detach()
    for channel in range(3):
        alone = RateModel(1)
        alone.fit(values[:, channel : channel + 1])
        assert float(alone.bits(values[:, channel : channel + 1]).detach()) == pytest.approx(
            float(together[channel])
        )


def test_parameters_learned_by_descent_reach_the_fitted_ones():
    values = rounded("shifted gauss", 4000)
    fitted, learned = RateModel(1), RateModel(1)
    fitted.fit(values)
    optimiser = torch.optim.Adam(learned.parameters(), lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        bits = learned.bits(values).sum()
        bits.backward()
        optimiser.step()
    best = float(fitted.bits(values).detach())
    assert float(learned.bits(values).detach()) <= 1.005 * best
    assert coded_bytes(values, learned.freeze()[0]) * 8 <= 1.01 * best + 16


def test_gradients_of_parameters_and_of_values_between_integers_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(5)
    # Values and shapes away from integers, where the estimate has kinks.
    values = (
        torch.randint(-6, 7, (200, 2), generator=generator)
        + 0.2
        + 0.6 * torch.rand(200, 2, generator=generator)
    )
    model = RateModel(2)
    model.fit(values)
    with torch.no_grad():
        model.shape += 0.3
    values.requires_grad_()
    model.bits(values).sum().backward()
    with torch.no_grad():
        for tensor, step in ((values, 0.02), *((parameter, 0.02) for parameter in model.parameters())):
            assert tensor.grad is not None
            flat, gradient = tensor.view(-1), tensor.grad.view(-1)
            index = int(gradient.abs().argmax())
            kept = float(flat[index])
            flat[index] = kept + step
            above = float(model.bits(values).sum())
            flat[index] = kept - step
            below = float(model.bits(values).sum())
            flat[index] = kept
            assert float(gradient[index]) == pytest.approx((above - below) / (2 * step), rel=0.03, abs=0.02)


def test_gradient_of_rounded_values_points_away_from_the_centre_and_vanishes_there():
    values = torch.tensor([[-4.2], [-1.3], [0.1], [0.9], [5.4]], requires_grad=True)
    model = RateModel(1)
    model.bits(round_straight_through(values)).sum().backward()
    assert values.grad is not None
    assert values.grad.sign().flatten().tolist() == [-1, -1, 0, 1, 1]


def test_values_far_outside_the_table_cost_more_the_farther_they_are():
    model = RateModel(1, limit=4)
    costs = [float(model.bits(torch.tensor([[value]])).detach()) for value in (5.0, 50.0, 5e3, 5e4, 5e6)]
    assert costs == sorted(costs)
    values = torch.tensor([[500.0]], requires_grad=True)
    model.bits(values).sum().backward()
    assert float(values.grad) > 0


def test_nothing_costs_nothing():
    assert RateModel(3).bits(torch.zeros(0, 3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("scale", [0.8, 1.5, 6.0, 50.0])
def test_noisy_laplace_estimate_agrees_with_the_coded_size_above_a_bit_a_value(scale):
    generator = np.random.default_rng(6)
    values = generator.laplace(0, scale, 100_000)
    noisy = torch.from_numpy(values + generator.uniform(-0.5, 0.5, values.shape)).float()[:, None]
    size = len(encode_symbols([(symbols := np.rint(values).astype(np.int64), fit_table(symbols))]))
    assert float(laplace_bits(noisy)) / 8 == pytest.approx(size, rel=0.02)


def test_noisy_laplace_gradient_is_finite_and_pulls_to_zero():
    noisy = torch.tensor([[0.0], [0.3], [-0.4], [3.0], [-200.0], [0.5]], requires_grad=True)
    laplace_bits(noisy).backward()
    assert torch.isfinite(noisy.grad).all()
    assert (noisy.grad * noisy >= 0).all()


def test_zeros_with_noise_cost_next_to_nothing():
    noise = torch.rand(10_000, 1, generator=torch.Generator().manual_seed(2)) - 0.5
    assert float(laplace_bits(noise)) < 0.06 * 10_000
