"""Small files of each family, in the layouts of the programs that write them."""

import io
import zipfile
from collections import OrderedDict

import numpy as np
import torch

SHAPE = (4, 5, 6)
LOW, HIGH = (-1.0, -1.25, -1.5), (1.0, 1.25, 1.5)
FEATURES = 6
CODES = 40


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def layers(sizes, names, prefix=""):
    state = OrderedDict()
    for (inputs, outputs), name in zip(sizes, names, strict=True):
        state[f"{prefix}{name}.weight"] = torch.randn(outputs, inputs, generator=draw(inputs)) / inputs**0.5
        state[f"{prefix}{name}.bias"] = torch.randn(outputs, generator=draw(outputs))
    return state


def dvgo_options(**changed):
    return {
        "xyz_min": np.array(LOW, np.float32),
        "xyz_max": np.array(HIGH, np.float32),
        "num_voxels": 120,
        "num_voxels_base": 60,
        "alpha_init": 0.01,
        "voxel_size_ratio": torch.tensor(0.8),
        "mask_cache_path": None,
        "mask_cache_world_size": list(SHAPE),
        "fast_color_thres": 1e-4,
        "density_type": "DenseGrid",
        "k0_type": "DenseGrid",
        "density_config": {},
        "rgbnet_dim": FEATURES,
        "rgbnet_direct": True,
        "rgbnet_full_implicit": False,
        "rgbnet_depth": 3,
        "rgbnet_width": 8,
        "viewbase_pe": 2,
    } | changed


def dvgo_network(inputs, prefix):
    return layers([(inputs, 8), (8, 8), (8, 3)], ["0", "2.0", "3"], prefix)


def dvgo_content(*, residual=False, coarse=False, **changed):
    """Return what DirectVoxGO saves."""
    channels = 3 if coarse else FEATURES
    state = OrderedDict(xyz_min=torch.tensor(LOW), xyz_max=torch.tensor(HIGH), act_shift=torch.tensor([-2.0]))
    if not coarse:
        state["viewfreq"] = torch.tensor([1.0, 2.0])
    for name, count, seed in (("density", 1, 1), ("k0", channels, 2)):
        state[f"{name}.grid"] = torch.randn(1, count, *SHAPE, generator=draw(seed))
        state[f"{name}.xyz_min"], state[f"{name}.xyz_max"] = state["xyz_min"], state["xyz_max"]
    if not coarse:
        state |= dvgo_network((channels - 3 if residual else channels) + 15, "rgbnet.")
    scale = (torch.tensor(SHAPE) - 1) / (state["xyz_max"] - state["xyz_min"])
    state["mask_cache.mask"] = torch.rand(SHAPE, generator=draw(3)) < 0.7
    state["mask_cache.xyz2ijk_scale"] = scale
    state["mask_cache.xyz2ijk_shift"] = -state["xyz_min"] * scale
    options = dvgo_options(rgbnet_dim=0 if coarse else FEATURES, rgbnet_direct=not residual) | changed
    return {
        "global_step": 20000,
        "model_kwargs": options,
        "model_state_dict": state,
        "optimizer_state_dict": {},
    }


def write_dvgo(path, **changed):
    torch.save(dvgo_content(**changed), path)
    return path


def write_legacy_dvgo(path):
    torch.save(dvgo_content(), path, _use_new_zipfile_serialization=False)
    return path


def svox2_content(*, old=False, **changed):
    """Return what svox2 saves."""
    held = np.random.default_rng(4).random(SHAPE) < 0.5
    links = np.full(SHAPE, -3, np.int32)
    links[held] = np.arange(held.sum())
    rows = int(held.sum())
    random = np.random.default_rng(5)
    density = random.normal(1.0, 2.0, (rows, 1)).astype(np.float32)
    harmonics = random.normal(0.0, 0.3, (rows, 27)).astype(np.float16)
    content = {
        "radius": np.array(HIGH, np.float32),
        "center": np.array([0.1, 0.0, -0.1], np.float32),
        "links": links,
    }
    if old:
        return content | {"data": np.concatenate([density, harmonics], axis=1)} | changed
    return content | {"density_data": density, "sh_data": harmonics, "basis_type": np.array(1)} | changed


def write_svox2(path, *, without=(), **changed):
    content = {name: value for name, value in svox2_content(**changed).items() if name not in without}
    np.savez_compressed(path, **content)
    return path


def tensorf_content(*, planes=True, shading="MLP_Fea", mask=True, **changed):
    """Return what TensoRF saves."""
    x, y, z = SHAPE
    state = OrderedDict()
    for name, counts in (("density", (2, 3, 2)), ("app", (4, 2, 3))):
        counts = counts if planes else (counts[0],) * 3
        for index, ((rows, columns), length) in enumerate(
            zip(((y, x), (z, x), (z, y)), (z, y, x), strict=True)
        ):
            if planes:
                state[f"{name}_plane.{index}"] = torch.randn(
                    1, counts[index], rows, columns, generator=draw(index)
                )
            state[f"{name}_line.{index}"] = torch.randn(
                1, counts[index], length, 1, generator=draw(9 + index)
            )
    features = {"SH": 27, "RGB": 3}.get(shading, 5)
    state["basis_mat.weight"] = torch.randn(features, 9 if planes else 4, generator=draw(8))
    if shading.startswith("MLP"):
        inputs = 5 + 3 + 12 + (20 if shading == "MLP_Fea" else 0)
        state |= layers([(inputs, 8), (8, 8), (8, 3)], ["0", "2", "4"], "renderModule.mlp.")
    content = {
        "kwargs": {
            "aabb": torch.tensor([LOW, HIGH]),
            "gridSize": list(SHAPE),
            "density_n_comp": [2, 3, 2],
            "appearance_n_comp": [4, 2, 3],
            "app_dim": features,
            "density_shift": -1,
            "alphaMask_thres": 1e-4,
            "distance_scale": 25,
            "rayMarch_weight_thres": 1e-4,
            "fea2denseAct": "softplus",
            "near_far": [2.0, 6.0],
            "step_ratio": 0.5,
            "shadingMode": shading,
            "pos_pe": 6,
            "view_pe": 2,
            "fea_pe": 2,
            "featureC": 8,
        }
        | changed,
        "state_dict": state,
    }
    if mask:
        held = np.random.default_rng(6).random((1, 1, z, y, x)) < 0.6
        content["alphaMask.shape"] = held.shape
        content["alphaMask.mask"] = np.packbits(held.reshape(-1))
        content["alphaMask.aabb"] = torch.tensor([LOW, HIGH])
    return content


def write_tensorf(path, **changed):
    torch.save(tensorf_content(**changed), path)
    return path


def vqrf_content(codes=CODES):
    """Return what VQRF saves, by name of file, and the values that it stands for: density and features."""
    random = np.random.default_rng(7)
    held = random.random(SHAPE) < 0.6
    kept = held & (random.random(SHAPE) < 0.3)
    index = random.integers(0, codes, int((held & ~kept).sum()))
    width = (codes - 1).bit_length()
    bits = (index[:, None] >> np.arange(width - 1, -1, -1)) & 1
    codebook = random.normal(size=(1, codes, FEATURES)).astype(np.float16)
    density = random.integers(-60, 120, (int(held.sum()), 1)).astype(np.int8)
    own = random.integers(-100, 100, (int(kept.sum()), FEATURES)).astype(np.int8)
    options = dvgo_options(codebook_size=codes, use_vq=True)
    dense = dvgo_content()["model_state_dict"]
    small = {key: value for key, value in dense.items() if not key.startswith(("rgbnet", "mask"))}
    small = {key: value for key, value in small.items() if not key.endswith("grid")}
    metadata = {
        "global_step": 20000,
        "world_size": torch.tensor(SHAPE),
        "model_kwargs": options,
        "model_state_dict": small,
        "grid_dequant": {"scale": 0.02, "zero_point": 1},
        "density_dequant": {"scale": 0.05, "zero_point": -3},
    }
    network = OrderedDict((key, value.half()) for key, value in dvgo_network(FEATURES + 15, "").items())
    files = {
        "non_prune_mask": np.packbits(held.reshape(-1)),
        "keep_mask": np.packbits(kept.reshape(-1)),
        "non_prune_density": density,
        "non_vq_grid": own,
        "vq_indexs": np.packbits(bits.reshape(-1).astype(bool)),
        "codebook": codebook,
        "rgbnet": np.array(network, dtype=object),
    }
    features = np.zeros((*SHAPE, FEATURES), np.float32)
    features[held & ~kept] = codebook[0][index]
    features[kept] = (own.astype(np.float32) - 1) * np.float32(0.02)
    raw = np.zeros(SHAPE, np.float32)
    raw[held] = (density[:, 0].astype(np.float32) + 3) * np.float32(0.05)
    return files, metadata, raw, features


def write_vqrf(folder, *, codes=CODES, **changed):
    folder.mkdir(exist_ok=True)
    files, metadata, _, _ = vqrf_content(codes)
    for name, array in (files | changed).items():
        np.savez_compressed(folder / f"{name}.npz", array)
    np.savez_compressed(folder / "metadata.npz", metadata=np.array(metadata, dtype=object))
    return folder


def packed(folder):
    """Return a zip archive of a folder, beside it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{folder.name}/{file.name}")
    return path


def npz_of(**members):
    """Return the bytes of an .npz file whose members are given as bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


WRITERS = {
    "dvgo": ("fine_last.tar", write_dvgo),
    "dvgo legacy": ("old.tar", write_legacy_dvgo),
    "plenoxels": ("ckpt.npz", write_svox2),
    "tensorf-vm": ("vm.th", write_tensorf),
    "tensorf-cp": ("cp.th", lambda path: write_tensorf(path, planes=False)),
    "vqrf": ("extreme_saving.zip", lambda path: packed(write_vqrf(path.with_suffix("")))),
}
