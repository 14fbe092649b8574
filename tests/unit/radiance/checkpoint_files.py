"""Small checkpoints of each layout, made as their own code makes them, and plain forward passes of each.

Weights are dicts of "layer.weight" (outputs, inputs) and "layer.bias"; a pass takes points and unit
directions and returns raw density (n,) and colour (n, 3).
"""

from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network in the terms of the original: the input joins again behind the layers in `skips`."""

    depth: int = 6
    width: int = 8
    skips: tuple[int, ...] = (2,)
    octaves: tuple[int, int] = (3, 2)
    view: tuple[int, ...] = (4,)
    every: int = field(default=4, kw_only=True)

    @property
    def encoded(self):
        return tuple(3 + 6 * octaves for octaves in self.octaves)


def random_layers(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, (outputs, inputs) in sizes.items():
        weights[f"{name}.weight"] = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
        weights[f"{name}.bias"] = 0.3 * torch.randn(outputs, generator=generator)
    return weights


def yenchenlin_weights(sizes, seed=0):
    position, direction = sizes.encoded
    width = sizes.width
    layers = {
        f"pts_linears.{i}": (width, position if i == 0 else width + position * (i - 1 in sizes.skips))
        for i in range(sizes.depth)
    }
    before = (width + direction, *sizes.view)
    layers |= {f"views_linears.{i}": (out, before[i]) for i, out in enumerate(sizes.view)}
    layers |= {
        "feature_linear": (width, width),
        "alpha_linear": (1, width),
        "rgb_linear": (3, sizes.view[-1]),
    }
    return random_layers(layers, seed)


def krrish94_weights(sizes, seed=0):
    position, direction = sizes.encoded
    width = sizes.width
    layers = {"layer1": (width, position)}
    for i in range(sizes.depth - 1):
        layers[f"layers_xyz.{i}"] = (width, width + position * (i > 0 and i % sizes.every == 0))
    before = (width + direction, *sizes.view)
    layers |= {f"layers_dir.{i}": (out, before[i]) for i, out in enumerate(sizes.view)}
    layers |= {"fc_alpha": (1, width), "fc_rgb": (3, sizes.view[-1]), "fc_feat": (width, width)}
    return random_layers(layers, seed)


def bmild_arrays(weights, dtype="<f4"):
    names = [name.removesuffix(".weight") for name in weights if name.startswith("pts") and "weight" in name]
    arrays = []
    for name in [*names, "feature_linear", "views_linears.0", "rgb_linear", "alpha_linear"]:
        arrays.append(weights[f"{name}.weight"].numpy().T.astype(dtype))
        arrays.append(weights[f"{name}.bias"].numpy().astype(dtype))
    return arrays


def write_bmild(path, arrays):
    listed = np.full(len(arrays), None, dtype=object)
    for index, array in enumerate(arrays):
        listed[index] = array
    np.save(path, listed, allow_pickle=True)
    return path


def adam_state(weights, rate):
    parameters = [torch.nn.Parameter(value.clone()) for value in weights.values()]
    optimiser = torch.optim.Adam(parameters, lr=rate)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    return optimiser.state_dict()


def write_yenchenlin(path, coarse, fine, *, legacy=False, **others):
    content = {
        "global_step": 200000,
        "network_fn_state_dict": coarse,
        "network_fine_state_dict": fine,
        "optimizer_state_dict": adam_state(coarse, 5e-4),
    }
    torch.save(content | others, path, _use_new_zipfile_serialization=not legacy)
    return path


def write_krrish94(path, coarse, fine, *, legacy=False, **others):
    content = {
        "iter": 199999,
        "model_coarse_state_dict": coarse,
        "model_fine_state_dict": fine,
        "optimizer_state_dict": adam_state(coarse, 8e-4),
        "loss": torch.tensor(0.007),
        "psnr": 21.4,
    }
    torch.save(content | others, path, _use_new_zipfile_serialization=not legacy)
    return path


def encoded(vectors, width):
    parts = [vectors]
    for octave in range((width - 3) // 6):
        parts += [torch.sin(2.0**octave * vectors), torch.cos(2.0**octave * vectors)]
    return torch.cat(parts, -1)


def run(weights, name, values):
    return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def original_pass(weights, sizes, points, directions):
    position, direction = (encoded(*pair) for pair in zip((points, directions), sizes.encoded, strict=True))
    h = position
    for i in range(sizes.depth):
        h = torch.relu(run(weights, f"pts_linears.{i}", h))
        if i in sizes.skips:
            h = torch.cat([position, h], -1)
    alpha = run(weights, "alpha_linear", h)
    h = torch.cat([run(weights, "feature_linear", h), direction], -1)
    for i in range(len(sizes.view)):
        h = torch.relu(run(weights, f"views_linears.{i}", h))
    return alpha[:, 0], run(weights, "rgb_linear", h)


def keras_pass(arrays, sizes, points, directions):
    arrays = [torch.from_numpy(array.astype(np.float32)) for array in arrays]
    position, direction = (encoded(*pair) for pair in zip((points, directions), sizes.encoded, strict=True))
    h = position
    for i in range(sizes.depth):
        h = torch.relu(h @ arrays[2 * i] + arrays[2 * i + 1])
        if i in sizes.skips:
            h = torch.cat([position, h], -1)
    bottleneck, view, rgb, sigma = (
        (arrays[2 * i], arrays[2 * i + 1]) for i in range(sizes.depth, sizes.depth + 4)
    )
    colour = torch.cat([h @ bottleneck[0] + bottleneck[1], direction], -1)
    colour = torch.relu(colour @ view[0] + view[1])
    return (h @ sigma[0] + sigma[1])[:, 0], colour @ rgb[0] + rgb[1]


def flexible_pass(weights, sizes, points, directions):
    position, direction = (encoded(*pair) for pair in zip((points, directions), sizes.encoded, strict=True))
    x = run(weights, "layer1", position)
    for i in range(sizes.depth - 1):
        if i > 0 and i % sizes.every == 0:
            x = torch.cat([x, position], -1)
        x = torch.relu(run(weights, f"layers_xyz.{i}", x))
    alpha = run(weights, "fc_alpha", x)
    x = torch.cat([torch.relu(run(weights, "fc_feat", x)), direction], -1)
    for i in range(len(sizes.view)):
        x = torch.relu(run(weights, f"layers_dir.{i}", x))
    return alpha[:, 0], run(weights, "fc_rgb", x)
