"""Files that are no checkpoint, damaged ones and those made to harm: one error, and nothing is run."""

import contextlib
import io
import random
import struct
import tracemalloc
import zipfile
from collections import OrderedDict

import checkpoint_files as files
import numpy as np
import pytest
import torch
from checkpoint_files import Sizes
from hostile_pickles import HUGE, array, listed, named, npy, state_dict, tensor, text, torch_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.errors import SceneCodecError, UnsupportedSceneError
from scene_codec.radiance import checkpoints
from scene_codec.radiance.archive_names import LEGACY_START
from scene_codec.radiance.checkpoints import load_checkpoint, looks_like_checkpoint

SIZES = Sizes(depth=3, width=4, skips=(1,), octaves=(1, 1), view=(3,))
PORT = files.yenchenlin_weights(SIZES)
FLEXIBLE = files.krrish94_weights(SIZES)
ARRAYS = files.bmild_arrays(PORT)
WRITERS = {
    "bmild": (".npy", lambda path: files.write_bmild(path, ARRAYS)),
    "yenchenlin": (".tar", lambda path: files.write_yenchenlin(path, PORT, PORT)),
    "yenchenlin legacy": (".tar", lambda path: files.write_yenchenlin(path, PORT, PORT, legacy=True)),
    "krrish94": (".ckpt", lambda path: files.write_krrish94(path, FLEXIBLE, FLEXIBLE)),
    "krrish94 legacy": (".ckpt", lambda path: files.write_krrish94(path, FLEXIBLE, FLEXIBLE, legacy=True)),
}


WORDS_OF_LIBRARIES = ("zip file", "CRC", "magic", "central directory", "opcode", "exhausted", "Error")


def refused(path, content, match=None):
    path.write_bytes(content)
    with pytest.raises(UnsupportedSceneError, match=match) as caught:
        load_checkpoint([path])
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert not [word for word in WORDS_OF_LIBRARIES if word in str(caught.value)]
    return str(caught.value)


@pytest.mark.parametrize("layout", WRITERS)
def test_truncated_files_are_refused_at_many_lengths(tmp_path, layout):
    suffix, write = WRITERS[layout]
    content = write(tmp_path / f"whole{suffix}").read_bytes()
    lengths = {*range(120), *range(0, len(content), 97), *range(len(content) - 60, len(content))}
    for length in sorted(lengths):
        refused(tmp_path / f"cut{suffix}", content[:length])
        looks_like_checkpoint(tmp_path / f"cut{suffix}")


@pytest.mark.parametrize("layout", WRITERS)
def test_flipped_bytes_raise_nothing_but_the_one_error(tmp_path, layout):
    suffix, write = WRITERS[layout]
    content = write(tmp_path / f"whole{suffix}").read_bytes()
    generator = random.Random(5)
    path = tmp_path / f"flipped{suffix}"
    for _ in range(250):
        damaged = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        looks_like_checkpoint(path)
        with contextlib.suppress(SceneCodecError):
            load_checkpoint([path])


@given(st.lists(st.sampled_from([bytes([code]) for code in range(256)]) | st.binary(max_size=6), max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_pickle_raises_nothing_but_the_one_error(tmp_path_factory, parts):
    path = tmp_path_factory.getbasetemp() / "any.npy"
    pickled = b"\x80\x04" + b"".join(parts) + b"."
    for content in (npy(pickled), torch_zip(pickled), LEGACY_START + b"\x80\x02M\xe9\x03." + pickled):
        refused(path, content)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("numpy", "fromfile"),
        ("numpy.core.multiarray", "frombuffer"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("collections", "Counter"),
    ],
)
def test_pickles_that_name_functions_are_refused_naming_them(tmp_path, module, name):
    marker = tmp_path / "ran"
    call = named(module, name) + text(f"touch {marker}") + b"\x85R."
    asks = f"asks for '{module}.{name}'"
    refused(tmp_path / "a.npy", npy(b"\x80\x02" + call), asks)
    refused(tmp_path / "a.tar", torch_zip(b"\x80\x02" + call), asks)
    legacy = LEGACY_START + b"\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."
    refused(tmp_path / "b.tar", legacy + b"\x80\x02" + call, asks)
    assert not marker.exists()


def test_stacked_names_with_blanks_and_dots_do_not_reach_other_functions(tmp_path):
    for module, name in (("os system", "x"), ("numpy", "ndarray.__reduce__"), ("numpy.ndarray", "ctypes")):
        call = text(module) + text(name) + b"\x93."
        refused(tmp_path / "a.npy", npy(b"\x80\x04" + call), "asks for")


BOMB = b"(K\x01t" + b"q\x00h\x00\x86" * 60


@pytest.mark.parametrize(
    "pickled",
    [
        listed(array(b"(K\x02t", b"C\x08abcdefgh", count=HUGE), 1),
        listed(array(b"(" + HUGE + b"t", b"C\x08abcdefgh"), 1),
        listed(array(b"(" + HUGE + HUGE + b"t", b"C\x08abcdefgh"), 1),
        listed(array(b"(K\x00" + HUGE + b"t", b"C\x00"), 1),
        listed(array(b"(" + b"K\x01" * 40 + b"t", b"C\x04abcd"), 1),
        listed(array(b"(J\xff\xff\xff\xfft", b"C\x04abcd"), 1),
        listed(array(b"(K\x01t", b"C\x04abcd", code="O8"), 1),
        listed(array(b"(K\x01t", b"C\x04abcd", code="V4"), 1),
        listed(array(b"(K\x01t", b"C\x04abcd", code="i4"), 1),
        listed(array(b"(K\x01t", b"C\x03abc"), 1),
        listed(array(b"(K\x01t", b"N"), 1),
        listed(b"(" * 50_000 + b"t" * 50_000, 1),
        listed(b"]" * 50_000, 1),
        b"\x80\x04" + b"(" * 150_000 + b"t" * 40_000 + b".",
        b"\x80\x04" + b"]" * 250_000 + b".",
        b"\x80\x04r\xff\xff\xff\xff.",
        b"\x80\x04]r\xff\xff\xff\xff.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04B\xff\xff\xff\x7f.",
        b"\x80\x04\x8b\xff\xff\xff\x7f.",
        b"\x80\x04}" + BOMB + b"K\x01s.",
        b"\x80\x04\x8f(" + BOMB + b"\x90.",
        b"\x80\x04}\x8a\x09" + b"\xff" * 8 + b"\x00K\x01s.",
        b"\x80\x04I" + b"9" * 100_000 + b"\n.",
        b"\x80\x04.",
    ],
    ids=range(25),
)
def test_pickles_that_declare_much_or_nest_deeply_are_refused_in_little_memory(tmp_path, pickled):
    tracemalloc.start()
    try:
        refused(tmp_path / "a.npy", npy(pickled))
        refused(tmp_path / "a.tar", torch_zip(pickled))
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_one_array_named_many_times_is_refused(tmp_path):
    raw = b"B" + struct.pack("<I", 400_000) + bytes(400_000)
    pickled = listed(array(b"(M\x64\x00M\xe8\x03t", raw) + b"q\x01" + b"h\x01" * 9, 10)
    refused(tmp_path / "a.npy", npy(pickled, 10), "larger than the file")


@pytest.mark.parametrize(
    "value",
    [
        tensor(b"(" + HUGE + b"t", b"(K\x00t"),
        tensor(b"(" + HUGE + HUGE + b"t", b"(K\x00K\x00t"),
        tensor(b"(K\x04t", b"(K\x02t"),
        tensor(b"(K\x04t", b"(K\x01t", offset=1),
        tensor(b"(K\x04t", b"(K\x01t", offset=-1),
        tensor(b"(K\x04t", b"(J\xff\xff\xff\xfft"),
        tensor(b"(K\x04t", b"(K\x01K\x01t"),
        tensor(b"(K\x05t", b"(K\x01t", count=5),
        tensor(b"(K\x04t", b"(K\x01t", count=0x7FFFFFFF),
        tensor(b"(K\x04t", b"(K\x01t", key="1"),
        tensor(b"(K\x04t", b"(K\x01t", key="../data.pkl"),
        tensor(b"(K\x04t", b"(K\x01t", kind="LongStorage"),
        tensor(b"(K\x04t", b"(K\x01t", kind="BFloat16Storage"),
        tensor(b"(K\x01K\x01K\x04t", b"(K\x01K\x01K\x01t"),
        tensor(b"(K\x00t", b"(K\x01t"),
        tensor(b"(t", b"(t"),
        tensor(b"K\x04", b"K\x01"),
        b"K\x01Q",
        b"(X\x07\x00\x00\x00storageK\x01K\x01K\x01K\x01tQ",
        b"K\x01",
        b"]",
    ],
    ids=range(21),
)
def test_tensors_that_their_values_cannot_fill_are_refused(tmp_path, value):
    refused(tmp_path / "a.tar", torch_zip(state_dict(value), **{"0": bytes(16)}))


def test_one_storage_named_many_times_is_refused(tmp_path):
    value = tensor(b"(M\x64\x00M\x64\x00t", b"(K\x64K\x01t", count=10_000)
    layers = b"".join(
        text(f"pts_linears.{i}.{kind}") + value for i in range(100) for kind in ("weight", "bias")
    )
    pickled = b"\x80\x02}" + text("network_fn_state_dict") + b"}(" + layers + b"us."
    refused(tmp_path / "a.tar", torch_zip(pickled, **{"0": bytes(40_000)}))


def test_archives_unlike_those_of_torch_are_refused(tmp_path):
    path = files.write_yenchenlin(tmp_path / "a.tar", PORT, PORT)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def written(contents, method=zipfile.ZIP_STORED):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, content in contents:
                archive.writestr(name, content)
        return stream.getvalue()

    (tmp_path / "same.tar").write_bytes(written(members.items()))
    load_checkpoint([tmp_path / "same.tar"])
    refused(tmp_path / "b.tar", written(members.items(), zipfile.ZIP_DEFLATED), "compressed")
    refused(tmp_path / "b.tar", written([("other/data.pkl", b"."), *members.items()]), "one pickle")
    refused(tmp_path / "b.tar", written([("a/b", b""), ("c", b"")]), "one pickle")
    refused(tmp_path / "b.tar", written((f"{'n' * 60}{i}", b"") for i in range(12_000)), "names more files")
    assert not looks_like_checkpoint(tmp_path / "b.tar")


def test_files_that_are_too_large_or_empty_or_missing_are_refused(tmp_path, monkeypatch):
    path = files.write_bmild(tmp_path / "model_000001.npy", ARRAYS)
    refused(tmp_path / "a.tar", b"", "is empty")
    with pytest.raises(UnsupportedSceneError, match="There is no file"):
        load_checkpoint([tmp_path / "none.tar"])
    with pytest.raises(UnsupportedSceneError, match="There is no file"):
        load_checkpoint([tmp_path])
    monkeypatch.setattr(checkpoints, "LARGEST_FILE", 100)
    with pytest.raises(UnsupportedSceneError, match="at most 100"):
        load_checkpoint([path])


@pytest.mark.parametrize(
    "content",
    [
        {"model_state_dict": OrderedDict(grid=torch.zeros(1, 3)), "global_step": 1},
        {"kwargs": {}, "state_dict": {"density_plane.0": torch.zeros(1, 16, 8, 8)}},
        {"step": 1, "pipeline": {"_model.field.mlp.weight": torch.zeros(4, 4)}, "optimizers": {}},
        OrderedDict(weight=torch.zeros(2, 2)),
        {"network_fn_state_dict": None},
        {"network_fn_state_dict": {}},
        {"network_fn_state_dict": 5},
        {"network_fn_state_dict": {5: torch.zeros(2)}},
        {"model_coarse_state_dict": {"layer1": torch.zeros(2)}},
        {"network_fn_state_dict": {f"a.{i}": torch.zeros(1) for i in range(400)}},
        [1, 2],
        torch.zeros(3),
        {},
    ],
    ids=range(13),
)
@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_other_programs_are_refused_with_what_is_expected(tmp_path, content, legacy):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    message = refused(tmp_path / "a.tar", stream.getvalue())
    for name in ("bmild", "yenchenlin", "krrish94"):
        assert name in message


@pytest.mark.parametrize(
    "content", [b"hello\n", b"\x80\x04N.", b"\x93NUMPY", b"PK\x05\x06" + bytes(18), bytes(99)]
)
def test_files_of_no_known_kind_are_refused_with_what_is_expected(tmp_path, content):
    assert "three layouts" in refused(tmp_path / "a.ckpt", content)


def test_arrays_of_numbers_and_other_lists_of_arrays_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 4, 4), np.float32))
    refused(path, path.read_bytes(), "array of numbers")
    for items in (
        [],
        ARRAYS[:-1],
        ARRAYS[:6],
        [*ARRAYS, *ARRAYS[:2]],
        [1, 2],
        ["a"],
        [ARRAYS],
        [np.arange(4)],
    ):
        files.write_bmild(path, items)
        refused(path, path.read_bytes())
    np.save(path, {"a": 1}, allow_pickle=True)
    refused(path, path.read_bytes())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    double = {name: tensor.double() for name, tensor in PORT.items()}
    double["rgb_linear.bias"] = double["rgb_linear.bias"].clone()
    double["rgb_linear.bias"][1] = value
    path = files.write_yenchenlin(tmp_path / "a.tar", PORT, double)
    refused(path, path.read_bytes(), r"biases of network_fine_state_dict: rgb_linear are not all finite")
    arrays = files.bmild_arrays(double, "<f8")
    path = files.write_bmild(tmp_path / "a.npy", arrays)
    refused(path, path.read_bytes(), "biases of the layer of arrays 10 and 11 are not all finite")


def changed(weights, name, shape):
    return weights | {name: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (changed(PORT, "pts_linears.0.weight", (4, 10)), "pts_linears.0 gets 10 values"),
        (changed(PORT, "pts_linears.0.weight", (4, 6)), "pts_linears.0 gets 6 values"),
        (
            changed(PORT, "pts_linears.1.weight", (4, 5)),
            "pts_linears.1 takes 5 values and should take 4, or 13",
        ),
        (changed(PORT, "pts_linears.1.weight", (3, 4)), "no layer"),
        (changed(PORT, "pts_linears.1.bias", (4, 1)), "no layer"),
        (changed(PORT, "alpha_linear.weight", (1, 5)), "alpha_linear takes 5 values"),
        (changed(PORT, "feature_linear.weight", (4, 5)), "feature_linear takes 5 values"),
        (changed(PORT, "rgb_linear.weight", (3, 5)), "rgb_linear takes 5 values"),
        (changed(PORT, "views_linears.0.weight", (3, 14)), "views_linears.0 gets 10 values"),
        (changed(PORT, "views_linears.0.weight", (3, 4)), "views_linears.0 gets 0 values"),
        (changed(changed(PORT, "alpha_linear.weight", (2, 4)), "alpha_linear.bias", (2,)), "gives 2 values"),
        (changed(changed(PORT, "rgb_linear.weight", (4, 3)), "rgb_linear.bias", (4,)), "gives 4 values"),
        (changed(PORT, "pts_linears.0.scale", (4,)), "pts_linears.0"),
        (changed(changed(PORT, "other.weight", (4, 4)), "other.bias", (4,)), "unknown names are: other"),
        ({k: v for k, v in PORT.items() if "views" not in k}, "0 view layers"),
        ({k: v for k, v in PORT.items() if "alpha" not in k}, "lacks alpha_linear"),
        ({k: v for k, v in PORT.items() if "linears.1" not in k}, "unknown names are: pts_linears.2"),
        (
            changed(changed(PORT, "output_linear.weight", (4, 4)), "output_linear.bias", (4,)),
            "view directions",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused_by_name(tmp_path, weights, match):
    path = files.write_yenchenlin(tmp_path / "a.tar", weights, None, optimizer_state_dict={})
    refused(path, path.read_bytes(), match)


def test_networks_without_view_directions_are_refused_as_such(tmp_path):
    trunk, output = ARRAYS[:6], [np.zeros((4, 4), np.float32), np.zeros(4, np.float32)]
    path = files.write_bmild(tmp_path / "a.npy", trunk + output)
    refused(path, path.read_bytes(), "without view directions")
    weights = changed(changed(FLEXIBLE, "fc_out.weight", (4, 4)), "fc_out.bias", (4,))
    path = files.write_krrish94(tmp_path / "a.ckpt", weights, None)
    refused(path, path.read_bytes(), "without view directions")
