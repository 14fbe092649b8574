"""Names of frames: what comes before the number, and their order."""

from hypothesis import given
from hypothesis import strategies as st

from scene_codec.volumes.frame_names import follows, frame_of, in_frame_order

names = st.from_regex(r"[a-c_.]{0,3}[0-9]{0,4}", fullmatch=True)


@given(names)
def test_a_frame_is_its_prefix_and_its_number(name):
    found = frame_of(name)
    if found is None:
        assert not name or not name[-1].isdigit()
    else:
        assert name.startswith(found[0])
        assert int(name[len(found[0]) :]) == found[1]
        assert not found[0] or not found[0][-1].isdigit()


@given(st.lists(names, max_size=12))
def test_order_of_frames_moves_nothing_but_frames(given_names):
    ordered = in_frame_order(given_names, lambda name: name)
    assert sorted(ordered) == sorted(given_names)
    others = [name for name in given_names if frame_of(name) is None]
    assert [name for name in ordered if frame_of(name) is None] == others
    prefixes = {frame_of(name)[0] for name in given_names if frame_of(name)}
    for prefix in prefixes:
        numbers = [frame_of(name)[1] for name in ordered if frame_of(name) and frame_of(name)[0] == prefix]
        assert numbers == sorted(numbers)
    assert all(follows(name, name) is False for name in given_names)
