"""The wire: every message survives it, and nothing else does."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec import errors
from scene_codec.service import protocol

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ids = st.integers() | st.text()
params = st.dictionaries(st.text(), json_values, max_size=3)
messages = st.one_of(
    st.builds(protocol.request, ids, st.text(), params),
    st.builds(protocol.notification, st.text(), params),
    st.builds(protocol.result_answer, ids, json_values),
    st.builds(
        protocol.error_answer, ids | st.none(), st.sampled_from(list(protocol.ERROR_NUMBERS)), st.text()
    ),
)


@given(sent=st.lists(messages, max_size=4))
@settings(derandomize=True, max_examples=200)
def test_messages_come_back_one_a_line(sent):
    stream = io.BytesIO(b"".join(protocol.encode_message(message) for message in sent))
    received = []
    while (line := protocol.read_line(stream)) is not None:
        received.append(protocol.decode_message(line))
    assert received == sent


@given(line=st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(derandomize=True, max_examples=400)
def test_any_other_line_is_refused_with_a_word_of_the_table(line):
    with pytest.raises(protocol.ProtocolError) as caught:
        protocol.decode_message(line)
    assert caught.value.word in protocol.ERROR_NUMBERS
    assert len(str(caught.value)) < 1000


@given(message=messages, data=st.data())
@settings(derandomize=True, max_examples=100)
def test_a_line_cut_anywhere_is_refused(message, data):
    line = protocol.encode_message(message)
    length = data.draw(st.integers(1, len(line) - 1))
    with pytest.raises(protocol.ProtocolError):
        protocol.decode_message(protocol.read_line(io.BytesIO(line[:length])) or b"")


def test_a_message_that_is_too_long_is_neither_sent_nor_taken(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_LINE_BYTES", 100)
    message = protocol.notification("log", {"text": "x" * 100})
    with pytest.raises(protocol.ProtocolError, match="the limit is 100"):
        protocol.encode_message(message)
    with pytest.raises(protocol.ProtocolError, match="more than 100"):
        protocol.decode_message(json.dumps(message).encode())


@pytest.mark.parametrize("excess", [0, 1, 99, 100, 101, 250])
def test_a_line_that_is_too_long_is_skipped_to_its_end(monkeypatch, excess):
    monkeypatch.setattr(protocol, "MAX_LINE_BYTES", 100)
    stream = io.BytesIO(b"x" * (100 + excess) + b"\nnext\n")
    with pytest.raises(protocol.ProtocolError, match="more than 100"):
        protocol.read_line(stream)
    assert protocol.read_line(stream) == b"next"
    assert protocol.read_line(stream) is None


def test_every_error_of_the_package_has_a_number():
    kinds = [errors.SceneCodecError, *errors.SceneCodecError.__subclasses__()]
    assert {kind.code for kind in kinds} <= set(protocol.ERROR_NUMBERS)
    assert len(set(protocol.ERROR_NUMBERS.values())) == len(protocol.ERROR_NUMBERS)


def test_the_file_is_importable_alone_with_the_standard_library_only(tmp_path):
    copy = tmp_path / "protocol.py"
    copy.write_bytes(Path(protocol.__file__).read_bytes())
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import protocol;"
        "foreign = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)"
        " - {'protocol', '__main__', '__mp_main__'};"
        "sys.exit(repr(foreign) if foreign else 0)"
    )
    # -S: without site-packages there is nothing else to import
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(tmp_path)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_add_on_of_a_checkout_loads_this_very_file():
    from scene_codec_addon import protocol as addon_protocol

    assert Path(addon_protocol.__file__).samefile(protocol.__file__)
    assert addon_protocol.PROTOCOL_VERSION == protocol.PROTOCOL_VERSION
