"""The record beside each mesh comes back as it was; whatever a hostile file holds becomes a sound one."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from scene_codec_addon.bridges import host_record
from scene_codec_addon.bridges.host_record import DataReference, HostRecord, MaterialSlot, ParentLink

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
names = text.filter(bool)
references = st.builds(DataReference, names, text)
# Nine digits are kept, as many as a float32 has.
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda value: float(f"{value:.9g}"))
parents = st.builds(
    ParentLink,
    object=references,
    type=st.just("VERTEX_3"),
    bone=text,
    vertices=st.tuples(*[st.integers(0, 2**31 - 1)] * 3),
    inverse=st.tuples(*[numbers] * 16),
)
records = st.builds(
    HostRecord,
    object=references,
    mesh=names,
    parent=st.none() | parents,
    collections=st.lists(st.lists(names, max_size=3).map(tuple), max_size=3).map(tuple),
    materials=st.lists(st.builds(MaterialSlot, st.none() | references, st.booleans()), max_size=3).map(tuple),
    material_index=st.integers(0, 2**31 - 1),
    smooth=st.booleans(),
    hidden=st.booleans(),
    hide_viewport=st.booleans(),
    hide_render=st.booleans(),
    hide_select=st.booleans(),
    rotation_mode=st.sampled_from(sorted(host_record.ROTATION_MODES)),
    properties=st.dictionaries(names, st.booleans() | st.integers() | st.text() | numbers, max_size=4),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
FIELDS = (*HostRecord.__dataclass_fields__, "unknown")


@given(record=records)
@settings(derandomize=True, max_examples=100)
def test_a_record_comes_back_as_it_was(record):
    assert host_record.parse(json.loads(json.dumps(host_record.to_json(record)))) == record


@given(fields=st.dictionaries(st.sampled_from(FIELDS), anything))
@settings(derandomize=True, max_examples=100)
def test_whatever_a_file_holds_becomes_a_record_that_can_be_written_again(fields):
    record = host_record.parse({"version": host_record.RECORD_VERSION, **fields})
    again = host_record.parse(json.loads(json.dumps(host_record.to_json(record))))
    assert again == record


@given(data=anything)
@settings(derandomize=True, max_examples=100)
def test_anything_but_a_record_is_taken_for_an_empty_one(data):
    assert host_record.parse(data) == HostRecord()


def test_names_that_blender_cannot_hold_are_dropped():
    for name in ("\ud800", "a\0b", "x" * 2000, 7, None):
        data = {"version": 1, "mesh": name, "collections": [["A", name]], "properties": {str(name): 1}}
        record = host_record.parse(data)
        assert (record.mesh, record.collections) == ("", (("A",),))
    assert host_record.parse({"version": 1, "collections": [["A"] * 5000]}).collections[0] == ("A",) * 64


def test_defaults_cost_no_bytes():
    assert host_record.to_json(HostRecord(object=DataReference("A"))) == {
        "version": 1,
        "object": {"name": "A"},
    }


def test_a_matrix_needs_sixteen_finite_numbers():
    assert host_record.matrix_values([0.0] * 15) is None
    assert host_record.matrix_values([0.0] * 15 + [float("inf")]) is None
    assert host_record.matrix_values([0.0] * 15 + ["1"]) is None
    assert host_record.matrix_values([1] * 16) == (1.0,) * 16
