"""Checkpoints of each layout: a network gives what the layout's own forward pass gives, for any sizes."""

import checkpoint_files as files
import numpy as np
import pytest
import torch
from checkpoint_files import Sizes

from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.radiance.checkpoints import load_checkpoint, looks_like_checkpoint

SIZES = [
    Sizes(),
    Sizes(depth=2, width=5, skips=(), octaves=(1, 0), view=(3,)),
    Sizes(depth=4, width=9, skips=(0, 2), octaves=(0, 4), view=(4,)),
    Sizes(depth=8, width=6, skips=(4,), octaves=(10, 4), view=(3,)),
]
LAYERED = [*SIZES, Sizes(view=(5, 3, 4)), Sizes(depth=9, every=3)]


def points(count=50):
    generator = torch.Generator().manual_seed(7)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return 3 * torch.rand(count, 3, generator=generator) - 1.5, directions


def check_same(network, expected):
    # Both are float32 sums of at most 70 products of about 1, in different orders.
    for got, wanted in zip(network(*points()), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def check_frozen(pair):
    for network in (pair.coarse, pair.fine):
        assert not network.training
        for parameter in network.parameters():
            assert parameter.dtype == torch.float32
            assert not parameter.requires_grad


def bmild_pair(folder, sizes=SIZES[0], dtype="<f4"):
    arrays = [files.bmild_arrays(files.yenchenlin_weights(sizes, seed), dtype) for seed in (1, 2)]
    paths = [folder / "model_200000.npy", folder / "model_fine_200000.npy"]
    for path, listed in zip(paths, arrays, strict=True):
        files.write_bmild(path, listed)
    return paths, arrays


@pytest.mark.parametrize("sizes", SIZES)
def test_networks_of_the_original_give_what_keras_gives(tmp_path, sizes):
    paths, arrays = bmild_pair(tmp_path, sizes)
    pair = load_checkpoint(paths)
    check_same(pair.coarse, files.keras_pass(arrays[0], sizes, *points()))
    check_same(pair.fine, files.keras_pass(arrays[1], sizes, *points()))
    check_frozen(pair)
    assert (pair.layout, pair.step, pair.learning_rate) == ("bmild", 200000, None)
    assert pair.source_bytes == sum(path.stat().st_size for path in paths)
    assert pair.parameter_bytes == 4 * sum(array.size for listed in arrays for array in listed)
    assert pair.fine.shape.skips == tuple(skip + 1 for skip in sizes.skips)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", ">f8"])
def test_other_types_and_byte_orders_of_arrays_are_read(tmp_path, dtype):
    paths, arrays = bmild_pair(tmp_path, dtype=dtype)
    check_same(load_checkpoint(paths).fine, files.keras_pass(arrays[1], SIZES[0], *points()))


def test_the_files_of_the_original_come_in_any_order_and_find_each_other(tmp_path):
    paths, arrays = bmild_pair(tmp_path)
    for given in (paths, paths[::-1], paths[:1], paths[1:]):
        pair = load_checkpoint(given)
        check_same(pair.coarse, files.keras_pass(arrays[0], SIZES[0], *points()))
        check_same(pair.fine, files.keras_pass(arrays[1], SIZES[0], *points()))
    paths[1].unlink()
    alone = load_checkpoint(paths[:1])
    assert alone.coarse is None
    check_same(alone.fine, files.keras_pass(arrays[0], SIZES[0], *points()))


def test_files_of_the_original_in_the_pickles_of_older_numpy_are_read(tmp_path):
    """Protocol 2 has no bytes, and keeps them as a text that is to be encoded."""
    paths, arrays = bmild_pair(tmp_path)
    content = paths[0].read_bytes()
    start = content.index(b"\n") + 1
    for protocol in (2, 3, 4):
        listed = np.load(paths[0], allow_pickle=True)
        pickled = np.ndarray.dumps(listed) if protocol == 4 else dumps(listed, protocol)
        old = tmp_path / f"old{protocol}.npy"
        old.write_bytes(content[:start] + pickled.replace(b"numpy._core", b"numpy.core"))
        check_same(load_checkpoint([old]).fine, files.keras_pass(arrays[0], SIZES[0], *points()))


def dumps(value, protocol):
    import pickle  # noqa: TID251 - writes a file as old versions did; nothing is read with it

    return pickle.dumps(value, protocol)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("sizes", LAYERED[:-1])
def test_networks_of_yenchenlin_give_what_their_own_code_gives(tmp_path, sizes, legacy):
    coarse, fine = (files.yenchenlin_weights(sizes, seed) for seed in (1, 2))
    path = files.write_yenchenlin(tmp_path / "200000.tar", coarse, fine, legacy=legacy)
    pair = load_checkpoint([path])
    check_same(pair.coarse, files.original_pass(coarse, sizes, *points()))
    check_same(pair.fine, files.original_pass(fine, sizes, *points()))
    check_frozen(pair)
    assert (pair.layout, pair.step, pair.learning_rate) == ("yenchenlin", 200000, 5e-4)
    assert pair.source_bytes == path.stat().st_size
    assert pair.parameter_bytes == 8 * sum(value.numel() for value in fine.values())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("sizes", LAYERED)
def test_networks_of_krrish94_give_what_their_own_code_gives(tmp_path, sizes, legacy):
    coarse, fine = (files.krrish94_weights(sizes, seed) for seed in (1, 2))
    path = files.write_krrish94(tmp_path / "checkpoint199999.ckpt", coarse, fine, legacy=legacy)
    pair = load_checkpoint([path])
    check_same(pair.coarse, files.flexible_pass(coarse, sizes, *points()))
    check_same(pair.fine, files.flexible_pass(fine, sizes, *points()))
    check_frozen(pair)
    assert (pair.layout, pair.step, pair.learning_rate) == ("krrish94", 199999, 8e-4)
    assert pair.fine.shape.linear == (0,)
    assert pair.fine.shape.bottleneck_relu


def test_a_single_network_of_a_port_is_the_fine_one(tmp_path):
    weights = files.yenchenlin_weights(SIZES[0])
    pair = load_checkpoint(
        [files.write_yenchenlin(tmp_path / "1.tar", weights, None, optimizer_state_dict={})]
    )
    assert pair.coarse is None
    assert pair.learning_rate is None
    assert pair.parameter_bytes == 4 * sum(value.numel() for value in weights.values())
    check_same(pair.fine, files.original_pass(weights, SIZES[0], *points()))


@pytest.mark.parametrize("legacy", [False, True])
def test_views_parameters_halves_and_parallel_modules_are_read(tmp_path, legacy):
    plain = files.yenchenlin_weights(SIZES[0])
    stored = {}
    for name, value in plain.items():
        plain[name] = value = value.half().float()
        wide = torch.zeros(*value.shape, 2)
        wide[..., 1] = value
        stored[f"module.{name}"] = wide[..., 1] if "pts" in name else torch.nn.Parameter(value.half())
    content = {"network_fn_state_dict": stored, "psnr": np.float64(1.0), "global_step": -3}
    torch.save(content, tmp_path / "1.tar", _use_new_zipfile_serialization=not legacy)
    pair = load_checkpoint([tmp_path / "1.tar"])
    assert pair.step == 0
    check_same(pair.fine, files.original_pass(plain, SIZES[0], *points()))


def test_loading_draws_no_random_numbers(tmp_path):
    path = files.write_krrish94(tmp_path / "1.ckpt", *[files.krrish94_weights(SIZES[0])] * 2)
    before = torch.random.get_rng_state()
    load_checkpoint([path])
    assert torch.equal(before, torch.random.get_rng_state())


def test_checkpoints_are_told_from_other_files_without_loading(tmp_path):
    weights = files.yenchenlin_weights(SIZES[0])
    paths, _ = bmild_pair(tmp_path)
    paths.append(files.write_yenchenlin(tmp_path / "1.tar", weights, weights))
    paths.append(files.write_yenchenlin(tmp_path / "2.tar", weights, weights, legacy=True))
    assert all(looks_like_checkpoint(path) for path in paths)
    np.save(tmp_path / "volume.npy", np.zeros((4, 4, 4), np.float32))
    np.savez(tmp_path / "volume.npz", vol=np.zeros((4, 4, 4), np.float32))
    np.save(tmp_path / "dict.npy", {"a": 1}, allow_pickle=True)
    (tmp_path / "text.tar").write_text("no checkpoint")
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "cut.ckpt").write_bytes(paths[2].read_bytes()[:100])
    for name in ("volume.npy", "volume.npz", "dict.npy", "text.tar", "empty.tar", "cut.ckpt", "none", "."):
        assert not looks_like_checkpoint(tmp_path / name), name


def test_the_number_of_files_must_be_right(tmp_path):
    paths, _ = bmild_pair(tmp_path)
    weights = files.yenchenlin_weights(SIZES[0])
    port = files.write_yenchenlin(tmp_path / "1.tar", weights, weights)
    for given in ([], [*paths, port]):
        with pytest.raises(InvalidRequestError, match="one file or two"):
            load_checkpoint(given)
    with pytest.raises(UnsupportedSceneError, match=r"only \.npy files come in pairs"):
        load_checkpoint([paths[0], port])
    with pytest.raises(UnsupportedSceneError, match="cannot be told"):
        load_checkpoint([paths[0], paths[0]])
