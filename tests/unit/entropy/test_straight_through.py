"""Rounding inside training: exact values forward, the stated gradients backward."""

import math

import pytest
import torch

from scene_codec.entropy.straight_through import LearnedStep, quantise_clamped, round_straight_through


def test_rounding_gives_integers_exactly_and_passes_the_gradient():
    values = torch.linspace(-300, 300, 7001, requires_grad=True)
    rounded = round_straight_through(values)
    assert torch.equal(rounded, values.round())
    rounded.sum().backward()
    assert torch.equal(values.grad, torch.ones_like(values))


def test_the_paper_quantiser_has_257_levels_and_no_gradient_outside_its_range():
    values = torch.linspace(-1.5, 1.5, 20001, requires_grad=True)
    levels = quantise_clamped(values)
    assert torch.equal((levels * 128).round(), levels * 128)
    assert len(levels.detach().unique()) == 257
    levels.sum().backward()
    inside = (values.abs() <= 1).float()
    assert torch.equal(values.grad, inside)


def test_quantised_values_are_multiples_of_the_learned_step():
    step = LearnedStep(2, 0.25)
    with torch.no_grad():
        step.log2_step[1] = 1.0
    values, in_steps = step(torch.tensor([[0.3, 5.1], [-0.9, 2.9]]))
    assert in_steps.tolist() == [[1.0, 3.0], [-4.0, 1.0]]
    assert values.tolist() == [[0.25, 6.0], [-1.0, 2.0]]


def test_the_steps_gradient_is_that_of_the_rounding_error():
    step = LearnedStep(1, 0.5)
    values = torch.tensor([[0.6], [1.9], [-0.1]], requires_grad=True)
    step(values)[0].sum().backward()
    in_steps = values.detach() / 0.5
    by_step = (in_steps.round() - in_steps).sum()
    assert float(step.log2_step.grad) == pytest.approx(float(by_step) * 0.5 * math.log(2.0), rel=1e-5)
    assert torch.allclose(values.grad, torch.ones_like(values))


def test_noise_is_one_step_wide_and_repeats_with_its_generator():
    step = LearnedStep(1, 0.5)
    values = torch.zeros(2000, 1)
    noisy, in_steps = step(values, torch.Generator().manual_seed(7))
    assert float(in_steps.detach().abs().max()) <= 0.5
    assert float(in_steps.detach().std()) == pytest.approx(12**-0.5, rel=0.05)
    assert torch.equal(noisy, step(values, torch.Generator().manual_seed(7))[0])


def test_frozen_steps_are_those_that_a_file_holds():
    step = LearnedStep(3, 0.3)
    frozen = step.freeze()
    assert torch.allclose(step.log2_step.exp2(), torch.tensor([entry.value for entry in frozen]), rtol=1e-6)
    assert step.freeze() == frozen
