"""Names of a set are distinct and follow Blender's suffixes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.geometry.object_names import unique_names


@given(
    st.lists(st.sampled_from(["", "a", "a.001", "a.002", "Object", "ü"]), max_size=12), st.sets(st.just("a"))
)
@settings(derandomize=True, max_examples=200)
def test_names_become_distinct_and_distinct_names_stay(names, taken):
    result = unique_names(names, taken)
    assert len(set(result)) == len(names)
    assert not set(result) & taken
    if len(set(names)) == len(names) and not set(names) & taken and "" not in names:
        assert result == names


def test_clashing_names_get_blenders_suffixes():
    assert unique_names(["leg", "leg", "leg.001", "leg"]) == ["leg", "leg.001", "leg.001.001", "leg.002"]
