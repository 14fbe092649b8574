"""What only a hostile or a broken writer makes of a radiance field: refused with one kind of error."""

import math
import struct
import tracemalloc

import msgspec
import numpy as np
import pytest
import torch

from scene_codec.codecs.nerf_pruned import syntax
from scene_codec.codecs.nerf_pruned.codec import NerfPrunedCodec
from scene_codec.codecs.nerf_pruned.decoder import decode_field
from scene_codec.codecs.nerf_pruned.syntax import CELLS, COARSE, FIELD, FINE
from scene_codec.codecs.radiance_parts.row_steps import HIGHEST_EXPONENT, LOWEST_EXPONENT
from scene_codec.codecs.radiance_parts.weight_coding import (
    CONTEXTS,
    IntegerLayer,
    decode_layers,
    encode_layers,
)
from scene_codec.entropy.bit_grid import encode_bit_grid
from scene_codec.entropy.byte_fields import ByteReader, varint
from scene_codec.entropy.context_tables import read_context_tables
from scene_codec.entropy.packing import pack_integers
from scene_codec.errors import CorruptFileError
from scene_codec.networks.radiance_shape import RadianceShape
from scene_codec.radiance.scene_domain import SceneDomain

CPU = torch.device("cpu")
LITTLE = 2_000_000
"""Bytes that refusing a header may take, whatever it declares."""

SHAPE = RadianceShape(
    position_octaves=1, direction_octaves=1, trunk=(6, 5, 4), skips=(2,), linear=(1,), bottleneck=4, view=(3,)
)
DOMAIN = SceneDomain(near=0.0, far=1.0, ndc=(1.5, 2.0), low=(-1.0,) * 3, high=(1.0,) * 3)


def layers_of(shape, seed):
    generator = np.random.default_rng(seed)
    return tuple(
        IntegerLayer(
            np.rint(generator.laplace(0.0, 4.0, (rows, columns))).astype(np.int32),
            generator.integers(-20, 21, rows).astype(np.int32),
            generator.integers(-16, -8, rows).astype(np.int32),
            -12,
        )
        for _, columns, rows in shape.layers
    )


def coded(networks=1):
    """Return a field with cells, or with a coarse network in their place."""
    space, lens = syntax.pack_domain(DOMAIN)
    cells = np.linalg.norm(np.indices((7, 6, 5)) - 3, axis=0) < 3.2 if networks == 1 else None
    header = syntax.FieldHeader(
        networks=(syntax.StoredShape.of(SHAPE),) * networks,
        space=space,
        lens=lens,
        white_background=True,
        corner_width=800,
        cells=() if cells is None else cells.shape,
        hundredths=(3000, 2500),
        zeros=500,
        source_parameters=1000,
    )
    return syntax.CodedField(header, tuple(layers_of(SHAPE, seed) for seed in range(networks)), cells)


def sections_of(field):
    return {section.kind: section.payload for section in syntax.write_field(field)}


WITH_CELLS, PAIR = sections_of(coded()), sections_of(coded(2))
HEADER, PAIR_HEADER = coded().header, coded(2).header
STORED = HEADER.networks[0]


def read(sections):
    """Return the integers of a field, None if it is refused; any other error fails the test."""
    try:
        return syntax.read_field(sections)
    except CorruptFileError:
        return None


def refused(sections):
    return read(sections) is None


def same(one, other):
    """Tell whether two fields have the same header and the same integers in their networks."""
    pairs = [
        pair
        for networks in zip(one.networks, other.networks, strict=True)
        for pair in zip(*networks, strict=True)
    ]
    return one.header == other.header and all(
        np.array_equal(a.weights, b.weights)
        and np.array_equal(a.biases, b.biases)
        and np.array_equal(a.exponents, b.exponents)
        and a.bias_exponent == b.bias_exponent
        for a, b in pairs
    )


@pytest.mark.parametrize("sections", [WITH_CELLS, PAIR], ids=["cells", "pair"])
def test_valid_sections_decode(sections):
    assert same(read(sections), coded(2 if COARSE in sections else 1))
    decode_field(sections, CPU)


@pytest.mark.parametrize("sections", [WITH_CELLS, PAIR], ids=["cells", "pair"])
def test_a_section_cut_short_is_refused_or_another_network(sections):
    """A range-coded stream that is cut off stands for other weights: the container's checksums tell."""
    whole = read(sections)
    for kind, data in sections.items():
        for length in range(len(data)):
            found = read({**sections, kind: data[:length]})
            assert found is None or (kind in (FINE, COARSE) and not same(found, whole)), (kind, length)


@pytest.mark.parametrize("kind", [FINE, COARSE])
def test_a_network_cut_short_before_its_weights_is_refused(kind):
    reader = ByteReader(PAIR[kind])
    reader.take(reader.varint())
    read_context_tables(reader, CONTEXTS)
    for length in range(reader.position):
        assert refused({**PAIR, kind: PAIR[kind][:length]}), length


@pytest.mark.parametrize("sections", [WITH_CELLS, PAIR], ids=["cells", "pair"])
def test_bytes_behind_a_section_are_refused(sections):
    for kind, whole in sections.items():
        for more in (b"\0", b"\1", bytes(7) + b"\1"):
            assert refused({**sections, kind: whole + more}), (kind, more)


@pytest.mark.parametrize("sections", [WITH_CELLS, PAIR], ids=["cells", "pair"])
def test_flipped_bits_are_refused_or_make_another_field(sections):
    generator = np.random.default_rng(1)
    found = 0
    for _ in range(300):
        kind = int(generator.choice(list(sections)))
        data = bytearray(sections[kind])
        for _ in range(int(generator.integers(1, 4))):
            data[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
        found += refused({**sections, kind: bytes(data)})
    assert found > 150


def test_sections_of_noise_are_refused():
    generator = np.random.default_rng(2)
    for kind, whole in {**PAIR, **WITH_CELLS}.items():
        for _ in range(40):
            noise = generator.bytes(int(generator.integers(1, 2 * len(whole))))
            assert refused({**(WITH_CELLS if kind in WITH_CELLS else PAIR), kind: noise})


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {kind: data for kind, data in WITH_CELLS.items() if kind != FIELD},
        {kind: data for kind, data in WITH_CELLS.items() if kind != FINE},
        {kind: data for kind, data in WITH_CELLS.items() if kind != CELLS},
        {kind: data for kind, data in PAIR.items() if kind != COARSE},
        {**WITH_CELLS, COARSE: PAIR[COARSE]},
        {**PAIR, CELLS: WITH_CELLS[CELLS]},
        {**PAIR, FIELD: WITH_CELLS[FIELD]},
        {**WITH_CELLS, FIELD: PAIR[FIELD]},
        {**WITH_CELLS, 20: b""},
    ],
)
def test_sections_that_are_missing_or_too_many_are_refused(sections):
    with pytest.raises(CorruptFileError, match=r"section|no description"):
        decode_field(sections, CPU)


def space(near=0.0, far=1.0, low=(-1.0,) * 3, high=(1.0,) * 3):
    return struct.pack("<8f", near, far, *low, *high)


WRONG_SHAPES = {
    "negative position octaves": ({"position_octaves": -1}, "octaves"),
    "position octaves": ({"position_octaves": 33}, "octaves"),
    "negative direction octaves": ({"direction_octaves": -1}, "octaves"),
    "direction octaves": ({"direction_octaves": 1 << 60}, "octaves"),
    "no trunk": ({"trunk": (), "skips": (), "linear": ()}, "layers"),
    "no view": ({"view": ()}, "layers"),
    "long trunk": ({"trunk": (1,) * 65}, "layers"),
    "long view": ({"view": (1,) * 65}, "layers"),
    "no width": ({"trunk": (6, 0, 4)}, "width"),
    "negative width": ({"view": (-3,)}, "width"),
    "wide trunk": ({"trunk": (4097, 5, 4)}, "width"),
    "wide view": ({"view": (1 << 62,)}, "width"),
    "wide bottleneck": ({"bottleneck": 4097}, "width"),
    "negative bottleneck": ({"bottleneck": -1}, "width"),
    "skip of the first layer": ({"skips": (0,)}, "layers"),
    "skip behind the trunk": ({"skips": (3,)}, "layers"),
    "skips not ascending": ({"skips": (2, 1)}, "layers"),
    "skips twice": ({"skips": (2, 2)}, "layers"),
    "negative linear": ({"linear": (-1,)}, "layers"),
    "linear behind the trunk": ({"linear": (3,)}, "layers"),
    "linear not ascending": ({"linear": (1, 0)}, "layers"),
    "weights": ({"trunk": (4096,) * 3, "skips": (), "linear": ()}, "weights"),
    "many weights": ({"trunk": (4096,) * 64, "view": (4096,) * 64}, "weights"),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
@pytest.mark.parametrize("networks", [1, 2])
def test_impossible_networks_are_refused_before_they_cost_anything(name, networks):
    changes, message = WRONG_SHAPES[name]
    wrong = msgspec.structs.replace(STORED, **changes)
    header, sections = (HEADER, WITH_CELLS) if networks == 1 else (PAIR_HEADER, PAIR)
    header = msgspec.structs.replace(header, networks=(STORED, wrong)[-networks:])
    assert_refused_at_no_cost({**sections, FIELD: msgspec.msgpack.encode(header)}, message)


WRONG_HEADERS = {
    "no network": ({"networks": ()}, "networks"),
    "three networks": ({"networks": (STORED,) * 3}, "networks"),
    "no cells": ({"cells": ()}, "coarse network or cells"),
    "two sides": ({"cells": (7, 6)}, "coarse network or cells"),
    "four sides": ({"cells": (7, 6, 5, 1)}, "coarse network or cells"),
    "no cell": ({"cells": (7, 0, 5)}, "cells"),
    "negative cells": ({"cells": (-7, -6, 5)}, "cells"),
    "cells in a row": ({"cells": (1 << 24, 1, 1)}, "cells"),
    "a side too long": ({"cells": (1, 1, 1025)}, "cells"),
    "too many cells": ({"cells": (1024, 1024, 17)}, "cells"),
    "a great many cells": ({"cells": (1 << 62, 1 << 62, 1 << 62)}, "cells"),
    "short space": ({"space": bytes(31)}, "length"),
    "an impossible quality": ({"hundredths": (1 << 62, -1)}, "quality"),
    "a negative quality": ({"hundredths": (-2, -1)}, "quality"),
    "fewer than no numbers before": ({"source_parameters": -1}, "numbers before"),
    "more zeros than weights": ({"zeros": 1001}, "thousandths"),
    "long space": ({"space": bytes(33)}, "length"),
    "short lens": ({"lens": bytes(7)}, "length"),
    "NaN": ({"space": space(near=math.nan)}, "finite"),
    "infinite far": ({"space": space(far=math.inf)}, "finite"),
    "infinite corner": ({"space": space(low=(-math.inf, -1.0, -1.0))}, "finite"),
    "NaN in the lens": ({"lens": struct.pack("<2f", 1.0, math.nan)}, "finite"),
    "negative near": ({"space": space(near=-0.5)}, "empty"),
    "near is far": ({"space": space(near=1.0)}, "empty"),
    "near behind far": ({"space": space(near=2.0)}, "empty"),
    "flat box": ({"space": space(high=(1.0, -1.0, 1.0))}, "empty"),
    "inverted box": ({"space": space(high=(1.0, 1.0, -2.0))}, "empty"),
    "lens without width": ({"lens": struct.pack("<2f", 1.0, 0.0)}, "lens"),
    "negative lens": ({"lens": struct.pack("<2f", -1.0, 1.0)}, "lens"),
    "negative corner width": ({"corner_width": -1}, "pixels"),
    "corner width": ({"corner_width": 65537}, "pixels"),
}


@pytest.mark.parametrize("name", WRONG_HEADERS)
def test_impossible_headers_are_refused_before_they_cost_anything(name):
    changes, message = WRONG_HEADERS[name]
    header = msgspec.structs.replace(HEADER, **changes)
    assert_refused_at_no_cost({**WITH_CELLS, FIELD: msgspec.msgpack.encode(header)}, message)


@pytest.mark.parametrize("cells", [(7, 6, 5), (5, 5), (1 << 62,)])
def test_a_pair_with_cells_is_refused(cells):
    header = msgspec.structs.replace(PAIR_HEADER, cells=cells)
    assert_refused_at_no_cost({**PAIR, FIELD: msgspec.msgpack.encode(header)}, "coarse network or cells")


VALUES = msgspec.msgpack.decode(WITH_CELLS[FIELD])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        msgspec.msgpack.encode([]),
        msgspec.msgpack.encode(VALUES[:1]),
        msgspec.msgpack.encode([*VALUES, 0]),
        msgspec.msgpack.encode({"networks": VALUES[0], "space": VALUES[1]}),
        msgspec.msgpack.encode([[[*VALUES[0][0], 0]], *VALUES[1:]]),
        msgspec.msgpack.encode([[VALUES[0][0][:3]], *VALUES[1:]]),
        msgspec.msgpack.encode([*VALUES[:1], "text", *VALUES[2:]]),
        msgspec.msgpack.encode([*VALUES[:4], 800.5]),
        msgspec.msgpack.encode([*VALUES[:3], 1]),
        msgspec.msgpack.encode([*VALUES[:6], [1, 2, 3]]),
        b"\x92\x91\x94\x01\x01\xdd\xff\xff\xff\xff\x01",
        b"\x92\xdd\xff\xff\xff\xff",
        b"\x92\x91\x94\x01\x01\x91\x01\x91\x01\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
    ],
)
def test_descriptions_of_another_form_are_refused(data):
    assert_refused_at_no_cost({**WITH_CELLS, FIELD: data}, "cannot be read")


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
        NerfPrunedCodec().details(sections)


def test_the_largest_header_that_is_allowed_is_read():
    wide = syntax.StoredShape(position_octaves=32, direction_octaves=32, trunk=(3600,), view=(3600,))
    header = msgspec.structs.replace(HEADER, networks=(wide,), cells=(1024, 1024, 16), corner_width=65536)
    assert wide.shape.parameters <= syntax.MAX_PARAMETERS
    assert syntax.read_header(msgspec.msgpack.encode(header)) == header


SIZES = [(rows, columns) for _, columns, rows in SHAPE.layers]
ROWS, COLUMNS = sum(rows for rows, _ in SIZES), sum(columns for _, columns in SIZES)


def network_with(**changes):
    """Return a network of which some arrays are replaced."""
    count = len(SIZES)
    arrays = {"bases": np.full(count, -12), "bias_exponents": np.full(count, -12), "offsets": np.zeros(ROWS),
              "rows": np.zeros(ROWS), "columns": np.zeros(COLUMNS), "biases": np.zeros(ROWS)}  # fmt: skip
    packed = pack_integers([part.astype(np.int64) for part in {**arrays, **changes}.values()])
    layers = tuple(
        IntegerLayer(np.zeros(size, np.int32), *(np.zeros(size[0], np.int32),) * 2, 0) for size in SIZES
    )
    reader = ByteReader(encode_layers(layers))
    reader.take(reader.varint())
    return varint(len(packed)) + packed + reader.rest()


def all_but_one(count, value, others=0):
    values = np.full(count, others)
    values[-1] = value
    return values


def test_arrays_within_their_limits_are_read():
    decode_layers(network_with(), SIZES)
    decode_layers(
        network_with(
            bases=np.full(len(SIZES), HIGHEST_EXPONENT),
            bias_exponents=np.full(len(SIZES), LOWEST_EXPONENT),
            rows=np.full(ROWS, 40),
            columns=np.full(COLUMNS, -40),
        ),
        SIZES,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": all_but_one(ROWS, 41)}, "class"),
        ({"rows": all_but_one(ROWS, -(2**31))}, "class"),
        ({"columns": all_but_one(COLUMNS, -41)}, "class"),
        ({"bases": all_but_one(len(SIZES), HIGHEST_EXPONENT + 1)}, "step"),
        ({"bases": all_but_one(len(SIZES), 2**31 - 1), "offsets": np.full(ROWS, 1)}, "step"),
        ({"offsets": all_but_one(ROWS, LOWEST_EXPONENT)}, "step"),
        ({"bias_exponents": all_but_one(len(SIZES), LOWEST_EXPONENT - 1)}, "step"),
        ({"bias_exponents": all_but_one(len(SIZES), -(2**31))}, "step"),
    ],
)
def test_classes_and_steps_out_of_bounds_are_refused(changes, message):
    with pytest.raises(CorruptFileError, match=message):
        decode_layers(network_with(**changes), SIZES)


@pytest.mark.parametrize("length", [1 << 20, (1 << 35) - 1])
def test_a_length_behind_the_end_of_a_network_is_refused(length):
    assert refused({**WITH_CELLS, FINE: varint(length) + WITH_CELLS[FINE][1:]})


def test_cells_of_another_grid_are_refused():
    other = np.random.default_rng(3).random((7, 5, 6)) < 0.4
    assert refused({**WITH_CELLS, CELLS: encode_bit_grid(other)})
