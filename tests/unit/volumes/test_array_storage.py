"""Arrays that may be larger than memory."""

import errno
import os

import numpy as np
import pytest

from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes import array_storage
from scene_codec.volumes.array_storage import copied, storage


def test_room_for_a_map_is_taken_before_it_is_used(monkeypatch):
    """A page of a map that finds no room later ends the process."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(array_storage, "LARGEST_IN_MEMORY", 1000)
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(UnsupportedSceneError, match="no room for 4000 bytes"):
        storage((10, 10, 10), np.dtype(np.float32))


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_a_copy_is_equal_and_apart(monkeypatch, limit):
    monkeypatch.setattr(array_storage, "LARGEST_IN_MEMORY", limit)
    values = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7).transpose(2, 0, 1)
    copy = copied(values)
    np.testing.assert_array_equal(copy, values)
    copy[...] = 0
    assert values.any()
