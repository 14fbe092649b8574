"""What only a hostile or a broken writer makes of a voxel field: refused with one kind of error."""

import math
import struct
import tracemalloc

import msgspec
import numpy as np
import pytest
import torch

from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.codecs.radiance_vqrf.codec import RadianceVqrfCodec
from scene_codec.codecs.radiance_vqrf.decoder import decode_field
from scene_codec.codecs.radiance_vqrf.field_parts import check_storable
from scene_codec.codecs.radiance_vqrf.stored_field import (
    RULES,
    SPACE,
    FieldHeader,
    StoredPlanes,
    StoredShader,
    read_header,
)
from scene_codec.codecs.radiance_vqrf.syntax import (
    DENSITY,
    FEATURES,
    FIELD,
    NETWORK,
    NODES,
    CodedField,
    field_section,
    read_field,
    write_values,
)
from scene_codec.entropy.bit_grid import encode_bit_grid
from scene_codec.errors import CorruptFileError, UnsupportedSceneError

CPU = torch.device("cpu")
LITTLE = 2_000_000
"""Bytes that refusing a header may take, whatever it declares."""

SHAPE = (6, 5, 7)
HELD = np.linalg.norm(np.indices(SHAPE).transpose(1, 2, 3, 0) - np.array([2.5, 2, 3]), axis=3) < 2.6
COORDINATES = 3
SHADER = StoredShader(kind="network", features=4, widths=(5,), view_octaves=1)


def rules(shift=-5.0, scale=4.0, size=0.1, alpha=1e-3, weight=1e-3, dark=1e-3):
    return RULES.pack(shift, scale, size, alpha, weight, dark)


def space(near=2.0, far=6.0, low=(-1.0,) * 3, high=(1.0,) * 3):
    return SPACE.pack(near, far, *low, *high)


HEADER = FieldHeader(
    method="rate",
    family="dvgo",
    shape=SHAPE,
    softplus=True,
    rules=rules(),
    shader=SHADER,
    space=space(),
    nodes=int(HELD.sum()),
    coordinates=COORDINATES,
)


def coded():
    """Return a field of the method rate."""
    random = np.random.default_rng(0)
    nodes = HEADER.nodes
    layers = tuple(
        IntegerLayer(
            random.integers(-9, 10, (rows, columns)).astype(np.int32),
            random.integers(-9, 10, rows).astype(np.int32),
            np.full(rows, -12, np.int32),
            -12,
        )
        for rows, columns in SHADER.sizes
    )
    return CodedField(
        header=HEADER,
        held=HELD,
        densities=random.integers(-30, 60, (nodes, 1)).astype(np.int32),
        density_step=0.25,
        features=random.integers(-9, 10, (nodes, COORDINATES)).astype(np.int32),
        feature_step=0.125,
        feature_map=random.normal(size=(COORDINATES, SHADER.features)).astype(np.float16),
        layers=layers,
    )


SECTIONS = {own.kind: own.payload for own in (field_section(HEADER), *write_values(coded()))}


def read(sections):
    """Return the integers of a field, None if it is refused; any other error fails the test."""
    try:
        return read_field(sections)
    except CorruptFileError:
        return None


def with_header(**changes):
    header = msgspec.structs.replace(HEADER, **changes)
    return {**SECTIONS, FIELD: msgspec.msgpack.encode(header)}


def test_valid_sections_decode():
    found, field = read(SECTIONS), coded()
    assert found.header == HEADER
    np.testing.assert_array_equal(found.held, HELD)
    np.testing.assert_array_equal(found.densities, field.densities)
    np.testing.assert_array_equal(found.features, field.features)
    np.testing.assert_array_equal(found.feature_map, field.feature_map)
    model = decode_field(SECTIONS, CPU).model
    wanted = (field.features * 0.125).astype(np.float32) @ field.feature_map.astype(np.float32)
    np.testing.assert_allclose(model.features.numpy(), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.raw_density.numpy(), field.densities * np.float32(0.25))


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_section_that_lacks_is_named(kind):
    rest = {own: data for own, data in SECTIONS.items() if own != kind}
    with pytest.raises(CorruptFileError, match=r"section|no description"):
        decode_field(rest, CPU)


@pytest.mark.parametrize("kind", [21, 32, 37])
def test_sections_of_another_method_are_refused(kind):
    with pytest.raises(CorruptFileError, match="sections"):
        decode_field({**SECTIONS, kind: b""}, CPU)


def test_the_other_method_wants_its_own_sections():
    for changes in ({"method": "vqrf", "codes": 16}, {"shader": StoredShader(kind="plain", features=3)}):
        with pytest.raises(CorruptFileError, match="sections"):
            decode_field(with_header(**changes), CPU)


@pytest.mark.parametrize("kind", [NODES, DENSITY, FEATURES, NETWORK])
def test_a_section_cut_short_is_refused_or_another_field(kind):
    """A range-coded stream that is cut off stands for other integers: the container's checksums tell."""
    data = SECTIONS[kind]
    for length in range(0, len(data), 11):
        found = read({**SECTIONS, kind: data[:length]})
        assert found is None or kind != NODES
    for length in range(4):
        assert read({**SECTIONS, kind: data[:length]}) is None


@pytest.mark.parametrize("kind", [NODES, DENSITY, FEATURES, NETWORK])
@pytest.mark.parametrize("tail", [b"\0", b"\1\2\3"])
def test_what_follows_a_section_is_refused(kind, tail):
    assert read({**SECTIONS, kind: SECTIONS[kind] + tail}) is None


@pytest.mark.parametrize("kind", [NODES, DENSITY, FEATURES, NETWORK])
def test_flipped_bits_are_refused_or_give_another_field(kind):
    random = np.random.default_rng(kind)
    for _ in range(12):
        damaged = bytearray(SECTIONS[kind])
        damaged[int(random.integers(len(damaged)))] ^= 1 << int(random.integers(8))
        found = read({**SECTIONS, kind: bytes(damaged)})
        assert found is None or found.features.shape == (HEADER.nodes, COORDINATES)


@pytest.mark.parametrize("kind", [DENSITY, FEATURES])
@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, math.inf, 1e6])
def test_impossible_steps_are_refused(kind, step):
    with pytest.raises(CorruptFileError, match="steps of"):
        read_field({**SECTIONS, kind: struct.pack("<f", step) + SECTIONS[kind][4:]})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_maps_that_are_not_finite_are_refused(value):
    data = SECTIONS[FEATURES]
    with pytest.raises(CorruptFileError, match="not finite"):
        read_field({**SECTIONS, FEATURES: data[:4] + np.float16(value).tobytes() + data[6:]})


def test_more_or_fewer_nodes_than_described_are_refused():
    for nodes in (0, HEADER.nodes - 1, HEADER.nodes + 1):
        with pytest.raises(CorruptFileError, match="nodes"):
            read_field(with_header(nodes=nodes))
    with pytest.raises(CorruptFileError, match="nodes"):
        read_field({**SECTIONS, NODES: encode_bit_grid(np.ones(SHAPE, bool))})


def shader(**changes):
    return {"shader": msgspec.structs.replace(SHADER, **changes)}


def planes(**changes):
    whole = {"density": (2, 2, 2), "appearance": (2, 2, 2), "limits": space(), "mask": ()} | changes
    return {"method": "vqrf", "codes": 16, "planes": StoredPlanes(**whole)}


WRONG_HEADERS = {
    "one node along x": ({"shape": (1, 5, 7)}, "nodes"),
    "negative nodes": ({"shape": (-6, -5, 7)}, "nodes"),
    "a side too long": ({"shape": (2, 2, 2049)}, "nodes"),
    "too many nodes": ({"shape": (2048, 2048, 9)}, "nodes: 2 to 2048 along each axis and 33,554,432 in all"),
    "nodes of 4 GB to decode": ({"shape": (2048, 2048, 32)}, "33,554,432 in all"),
    "a great many nodes": ({"shape": (1 << 62,) * 3}, "nodes"),
    "more held than nodes": ({"nodes": 211}, "211 of 210"),
    "negative held": ({"nodes": -1}, "nodes"),
    "negative coordinates": ({"coordinates": -1}, "coordinates"),
    "many coordinates": ({"coordinates": 257}, "coordinates"),
    "many held nodes": ({"shape": (2048, 2048, 8), "nodes": (1 << 23) + 1}, "held nodes"),
    "many values": ({"shape": (2048, 2048, 8), "nodes": 1 << 23, "coordinates": 256}, "features of"),
    "no features": (shader(features=0), "features"),
    "many features": (shader(features=257), "features"),
    "features of harmonics": (shader(kind="harmonics"), "features for harmonics"),
    "features of colours": (shader(kind="plain"), "features for plain"),
    "features of a residual": (shader(features=2, residual=True), "features for network"),
    "deep network": (shader(widths=(2,) * 17), "layers"),
    "wide network": (shader(widths=(1025,)), "layers"),
    "no width": (shader(widths=(0,)), "layers"),
    "octaves of directions": (shader(view_octaves=17), "octaves"),
    "negative octaves": (shader(view_octaves=-1), "octaves"),
    "octaves of features": (shader(feature_octaves=17), "octaves"),
    "negative octaves of features": (shader(feature_octaves=-2), "octaves"),
    "short space": ({"space": bytes(31)}, "length"),
    "long rules": ({"rules": bytes(25)}, "length"),
    "short lens": ({"lens": bytes(7)}, "length"),
    "NaN": ({"space": space(near=math.nan)}, "finite"),
    "infinite corner": ({"space": space(low=(-math.inf, -1.0, -1.0))}, "finite"),
    "infinite scale": ({"rules": rules(scale=math.inf)}, "finite"),
    "NaN in the lens": ({"lens": struct.pack("<2f", 1.0, math.nan)}, "finite"),
    "near is far": ({"space": space(near=6.0)}, "empty"),
    "flat box": ({"space": space(high=(1.0, -1.0, 1.0))}, "empty"),
    "negative lens": ({"lens": struct.pack("<2f", -1.0, 1.0)}, "lens"),
    "a lens of nothing": ({"lens": struct.pack("<2f", 1e-38, 3e38)}, "lens"),
    "a box without end": ({"space": space(low=(-3e38,) * 3, high=(3e38,) * 3)}, "place"),
    "far without end": ({"space": space(far=3e38)}, "place"),
    "steps across the box": ({"rules": rules(size=1e6)}, "steps"),
    "scale of nothing": ({"rules": rules(scale=0.0)}, "rule"),
    "negative opacity": ({"rules": rules(alpha=-0.1)}, "rule"),
    "large shift": ({"rules": rules(shift=2e6)}, "rule"),
    "steps of nothing": ({"rules": rules(size=0.0)}, "steps"),
    "negative steps": ({"rules": rules(size=-1.0)}, "steps"),
    "endless steps": ({"rules": rules(size=1e-5)}, "steps"),
    "seventeen steps a node": ({"rules": rules(size=math.sqrt(12) / (17 * sum(SHAPE)))}, "steps"),
    "endless steps across many nodes": ({"shape": (2048, 2048, 8), "rules": rules(size=6e-5)}, "steps"),
    "codes of the other method": ({"codes": 16}, "codes"),
    "no codes": ({"method": "vqrf"}, "codes"),
    "one code": ({"method": "vqrf", "codes": 1}, "codes"),
    "many codes": ({"method": "vqrf", "codes": 65537}, "codes"),
    "planes of the other method": (planes() | {"method": "rate", "codes": 0}, "planes"),
    "short limits": (planes(limits=bytes(4)), "planes"),
    "no components": (planes(density=(0, 2, 2)), "components"),
    "many components": (planes(appearance=(2, 257, 2)), "components"),
    "limits without end": (planes(limits=space(far=math.inf)), "enter"),
    "a flat mask": (planes(limits=space(high=(1.0, 1.0, -1.0))), "enter"),
    "two sides of a mask": (planes(mask=(4, 4)), "mask"),
    "a side of a mask": (planes(mask=(4, 4, 1)), "mask"),
    "a large mask": (planes(mask=(2048, 2048, 2048)), "mask"),
    "an impossible quality": ({"hundredths": (1 << 62, -1)}, "quality"),
    "a negative quality": ({"hundredths": (-2, -1)}, "quality"),
    "fewer than no numbers before": ({"source_parameters": -1}, "numbers before"),
}


@pytest.mark.parametrize("name", WRONG_HEADERS)
def test_impossible_headers_are_refused_before_they_cost_anything(name):
    changes, message = WRONG_HEADERS[name]
    assert_refused_at_no_cost(with_header(**changes), message)


VALUES = msgspec.msgpack.decode(SECTIONS[FIELD])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        msgspec.msgpack.encode([]),
        msgspec.msgpack.encode(VALUES[:6]),
        msgspec.msgpack.encode([*VALUES, 0]),
        msgspec.msgpack.encode(["huffman", *VALUES[1:]]),
        msgspec.msgpack.encode([VALUES[0], "instant", *VALUES[2:]]),
        msgspec.msgpack.encode([*VALUES[:2], [6, 5], *VALUES[3:]]),
        msgspec.msgpack.encode([*VALUES[:2], [6, 5, 7.5], *VALUES[3:]]),
        msgspec.msgpack.encode([*VALUES[:5], ["network"], *VALUES[6:]]),
        b"\x9f\xdd\xff\xff\xff\xff\x01",
        b"\x91" * 100_000,
    ],
)
def test_descriptions_of_another_form_are_refused(data):
    assert_refused_at_no_cost({**SECTIONS, FIELD: data}, "cannot be read")


def assert_refused_at_no_cost(sections, message):
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match=message):
            decode_field(sections, CPU)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LITTLE
    with pytest.raises(CorruptFileError, match=message):
        RadianceVqrfCodec().details(sections)


def test_the_largest_header_that_is_allowed_is_read():
    large = msgspec.structs.replace(
        HEADER, shape=(2048, 2048, 8), nodes=1 << 20, coordinates=256, shader=StoredShader(
            kind="network", features=256, widths=(1024,) * 16, view_octaves=16, feature_octaves=16
        )
    )  # fmt: skip
    assert read_header(msgspec.msgpack.encode(large)) == large


@pytest.mark.parametrize(
    ("shape", "sides", "ratio"),
    [
        ((256, 256, 256), (2.0, 2.0, 2.0), 0.5),
        ((300, 300, 300), (3.0, 3.0, 3.0), 0.5),
        ((44, 61, 29), (1.1, 1.6, 0.7), 0.1),
        ((700, 570, 64), (3.0, 2.0, 2.0), 0.5),
        ((320, 320, 320), (2.0, 2.0, 0.2), 0.5),
    ],
)
def test_grids_and_steps_of_public_programs_are_allowed(shape, sides, ratio):
    """Steps in the shortest way between nodes, which is a tenth of the others in the last case."""
    size = ratio * min(side / (count - 1) for side, count in zip(sides, shape, strict=True))
    check_storable(msgspec.structs.replace(HEADER, shape=shape, rules=rules(size=size), space=space(high=[
        side - 1.0 for side in sides
    ])))  # fmt: skip


def test_a_field_of_too_many_nodes_is_refused_by_the_writer_too():
    with pytest.raises(UnsupportedSceneError, match=r"\(514, 514, 514\) nodes: .* 33,554,432 in all"):
        check_storable(msgspec.structs.replace(HEADER, shape=(514, 514, 514)))
