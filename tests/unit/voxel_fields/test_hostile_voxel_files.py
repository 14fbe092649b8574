"""Files that are no voxel field, damaged ones and those made to harm: one error, and nothing is run."""

import contextlib
import io
import random
import tracemalloc

import numpy as np
import pytest
import torch
import voxel_files as files

from scene_codec.errors import UnsupportedSceneError
from scene_codec.voxel_fields.field_files import load_voxel_field, looks_like_voxel_field

HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"


WORDS_OF_LIBRARIES = ("zip file", "CRC", "magic", "central directory", "opcode", "exhausted", "Error")


def refused(path, match=None):
    with pytest.raises(UnsupportedSceneError, match=match) as caught:
        load_voxel_field(path)
    assert len(str(caught.value)) < 1000
    assert not [word for word in WORDS_OF_LIBRARIES if word in str(caught.value)]
    return str(caught.value)


def npy_of(kind, shape, raw):
    text = (HEADER % (kind, shape)).encode()
    text = text.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + raw


def saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("family", files.WRITERS)
def test_what_is_left_of_a_file_is_still_called_a_voxel_field(tmp_path, family):
    name, write = files.WRITERS[family]
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    assert looks_like_voxel_field(path)
    assert "voxel field" in refused(path)


def test_a_folder_of_which_a_part_is_missing_is_still_called_a_voxel_field(tmp_path):
    folder = files.write_vqrf(tmp_path / "small")
    (folder / "vq_indexs.npz").unlink()
    assert looks_like_voxel_field(folder)
    refused(folder, "lacks vq_indexs.npz")


@pytest.mark.parametrize("family", files.WRITERS)
def test_truncated_files_are_refused(tmp_path, family):
    name, write = files.WRITERS[family]
    content = write(tmp_path / name).read_bytes()
    path = tmp_path / f"cut_{name}"
    for length in sorted(
        {0, 1, 10, 200, *range(0, len(content), max(1, len(content) // 12)), len(content) - 1}
    ):
        path.write_bytes(content[:length])
        looks_like_voxel_field(path)
        refused(path)


@pytest.mark.parametrize("family", files.WRITERS)
def test_a_file_that_ends_in_the_middle_is_said_to_be_cut_off(tmp_path, family):
    name, write = files.WRITERS[family]
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    refused(path, f"'{path.name}' is cut off or damaged.*Copy it again")


@pytest.mark.parametrize("family", files.WRITERS)
def test_flipped_bytes_raise_nothing_but_the_one_error(tmp_path, family):
    name, write = files.WRITERS[family]
    content = write(tmp_path / name).read_bytes()
    generator = random.Random(5)
    path = tmp_path / f"flipped_{name}"
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(UnsupportedSceneError):
            load_voxel_field(path)


class Runs:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return exec, (f"open({str(self.marker)!r}, 'w')",)


def test_functions_in_pickles_are_refused_and_not_run(tmp_path):
    marker = tmp_path / "ran"
    files.write_dvgo(tmp_path / "a.tar", alpha_init=Runs(marker))
    files.write_tensorf(tmp_path / "a.th", step_ratio=Runs(marker))
    files.write_vqrf(tmp_path / "a", rgbnet=np.array({"0.weight": Runs(marker)}, dtype=object))
    for name in ("a.tar", "a.th", "a"):
        refused(tmp_path / name, r"asks for '(builtins|__builtin__)\.exec")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"density_type": "TensoRFGrid"}, "TensoRFGrid"),
        ({"k0_type": "TensoRFGrid"}, "TensoRFGrid"),
        ({"mpi_depth": 128}, "DirectMPIGO"),
        ({"bg_len": 0.2, "contracted_norm": "inf"}, "DirectContractedVoxGO"),
        ({"rgbnet_full_implicit": True}, "rgbnet_full_implicit"),
        ({"num_voxels": 1e30}, "voxels"),
        ({"num_voxels": 0}, "num_voxels"),
        ({"num_voxels_base": -1.0}, "num_voxels_base"),
        ({"fast_color_thres": float("nan")}, "fast_color_thres"),
        ({"num_voxels": "many"}, "num_voxels"),
    ],
)
def test_other_models_and_options_of_directvoxgo_are_named(tmp_path, changed, named):
    assert named in refused(files.write_dvgo(tmp_path / "a.tar", **changed))


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("density.grid", torch.full((1, 1, *files.SHAPE), float("nan")), "density.grid"),
        ("density.grid", torch.zeros(1, 1, 4, 5, 7), "k0.grid"),
        ("density.grid", torch.zeros(1, 1, 1, 5, 6), "density.grid"),
        ("density.grid", torch.zeros(4, 5, 6), "density.grid"),
        ("density.grid", torch.zeros(1, 1, *files.SHAPE, dtype=torch.int32), "type Int"),
        ("density.grid", torch.zeros(1).expand(1, 1, 600, 600, 600), "density.grid"),
        ("k0.grid", torch.zeros(1, 7, *files.SHAPE), "takes 21 values"),
        ("rgbnet.0.weight", torch.zeros(8, 20), "takes 20 values"),
        ("rgbnet.2.0.weight", torch.zeros(8, 9), "rgbnet.2.0"),
        ("rgbnet.3.weight", torch.zeros(4, 8), "rgbnet.3"),
        ("rgbnet.3.bias", torch.tensor([0.0, float("inf"), 0.0]), "finite"),
        ("viewfreq", torch.tensor([1.0, 3.0]), "viewfreq"),
        ("act_shift", torch.zeros(1, 1, 1, 1, 9), "act_shift"),
        ("xyz_max", torch.tensor([1.0, -2.0, 1.0]), "box"),
        ("xyz_min", torch.tensor([float("nan"), -1.0, -1.0]), "xyz_min"),
        ("mask_cache.mask", torch.zeros(20, dtype=torch.bool), "mask_cache"),
        ("mask_cache.xyz2ijk_scale", torch.zeros(4), "xyz2ijk_scale"),
    ],
)
def test_tensors_of_directvoxgo_that_do_not_fit_are_named(tmp_path, key, value, named):
    content = files.dvgo_content()
    content["model_state_dict"][key] = value
    torch.save(content, tmp_path / "a.tar")
    assert named in refused(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"basis_type": np.array(4)}, "texture"),
        ({"basis_type": np.array(255)}, "network"),
        ({"background_links": np.zeros((4, 4))}, "background"),
        ({"links": np.full(files.SHAPE, 500, np.int32)}, "row 500"),
        ({"links": np.zeros(files.SHAPE, np.int32)}, "links"),
        ({"links": np.full(files.SHAPE, -1, np.int32)}, "links"),
        ({"links": np.zeros(files.SHAPE, np.float32)}, "type"),
        ({"links": np.zeros((4, 5), np.int32)}, "links"),
        ({"density_data": np.zeros((3, 1), np.float32)}, "densities"),
        ({"sh_data": np.zeros((3, 12), np.float16)}, "12 coefficients"),
        ({"sh_data": np.full((60, 27), np.nan, np.float16)}, "finite"),
        ({"radius": np.zeros(3, np.float32)}, "box"),
        ({"radius": np.array([{}], dtype=object)}, "type"),
    ],
)
def test_arrays_of_svox2_that_do_not_fit_are_named(tmp_path, changed, named):
    assert named in refused(files.write_svox2(tmp_path / "ckpt.npz", **changed))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"shadingMode": "MLP_PE"}, "MLP_PE"),
        ({"fea2denseAct": "exp"}, "exp"),
        ({"near_far": [0.0, 1.0]}, "forward-facing"),
        ({"near_far": [6.0, 2.0]}, "6.0 to 2.0"),
        ({"gridSize": [4, 5, 7]}, "line.0"),
        ({"gridSize": [4, 5]}, "gridSize"),
        ({"gridSize": [1 << 20, 1 << 20, 1 << 20]}, "nodes"),
        ({"step_ratio": 1e-9}, "step_ratio"),
        ({"step_ratio": 0.0}, "step_ratio"),
        ({"app_dim": 6}, "takes 40 values"),
        ({"view_pe": 3}, "takes 40 values"),
        ({"fea_pe": 1000000}, "fea_pe"),
        ({"aabb": torch.zeros(2, 3)}, "box"),
        ({"distance_scale": -25}, "distance_scale"),
    ],
)
def test_options_of_tensorf_that_do_not_fit_are_named(tmp_path, changed, named):
    assert named in refused(files.write_tensorf(tmp_path / "a.th", **changed))


def test_a_mask_of_tensorf_of_another_size_is_refused(tmp_path):
    for shape, named in (
        ((1, 1, 9, 9, 9), "92 bytes"),
        ((1, 1, 1 << 20, 1 << 20, 9), "nodes"),
        ((3,), "shape"),
    ):
        content = files.tensorf_content() | {"alphaMask.shape": shape}
        torch.save(content, tmp_path / "a.th")
        assert named in refused(tmp_path / "a.th")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"non_prune_mask": np.zeros(14, np.uint8)}, "non_prune_mask"),
        ({"non_prune_mask": np.zeros(15, np.uint8)}, "leaves out"),
        ({"keep_mask": np.full(15, 255, np.uint8)}, "leaves out"),
        ({"non_prune_density": np.zeros((3, 1), np.int8)}, "non_prune_density"),
        ({"non_vq_grid": np.zeros((1, 6), np.int8)}, "non_vq_grid"),
        ({"vq_indexs": np.zeros(4, np.uint8)}, "vq_indexs"),
        ({"codebook": np.full((1, 40, 6), np.nan, np.float16)}, "finite"),
        ({"codebook": np.zeros((1, 33, 6), np.float16)}, "of 33"),
        ({"codebook": np.zeros((40, 6), np.float16)}, "codebook"),
        ({"codebook": np.zeros((1, 40, 7), np.float16)}, "non_vq_grid"),
        ({"rgbnet": np.zeros(3)}, "rgbnet"),
    ],
)
def test_parts_of_vqrf_that_do_not_fit_are_named(tmp_path, changed, named):
    folder = files.write_vqrf(tmp_path / "extreme_saving", **changed)
    refused(folder, named)
    refused(files.packed(folder), named)


def test_a_folder_of_vqrf_with_a_part_missing_is_refused(tmp_path):
    folder = files.write_vqrf(tmp_path / "extreme_saving")
    (folder / "rgbnet.npz").unlink()
    refused(folder, "lacks rgbnet.npz")
    refused(files.packed(folder), "rgbnet.npz")


@pytest.mark.parametrize(
    "shape", ["(1099511627776,)", "(65536, 65536, 65536)", "(600, 600, 600)", "(-5, 3, 3)"]
)
def test_declared_sizes_take_no_memory(tmp_path, shape):
    content = {name: saved(array) for name, array in files.svox2_content().items()}
    content["links"] = npy_of("<i4", shape, b"\xff" * 4000)
    path = tmp_path / "ckpt.npz"
    path.write_bytes(files.npz_of(**content))
    folder = files.write_vqrf(tmp_path / "extreme_saving")
    (folder / "vq_indexs.npz").write_bytes(files.npz_of(arr_0=npy_of("|u1", shape, b"\xff" * 4000)))
    for hostile in (path, folder):
        tracemalloc.start()
        try:
            refused(hostile)
            assert tracemalloc.get_traced_memory()[1] < 20e6
        finally:
            tracemalloc.stop()
