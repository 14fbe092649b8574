"""The result cache: what was put comes back, what was damaged does not, the folder keeps its bound."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scene_codec.scaling.cache import CACHE_VARIABLE, ResultCache, default_cache_folder, result_key

KEY = result_key("1", "recipe", [b"mesh"])


def entry_of(cache: ResultCache) -> Path:
    (path,) = cache.folder.rglob("*.result")
    return path


@given(payload=st.binary(max_size=200))
@settings(derandomize=True, max_examples=25)
def test_what_was_put_comes_back(tmp_path_factory, payload):
    cache = ResultCache(tmp_path_factory.mktemp("cache"))
    assert cache.get(KEY) is None
    cache.put(KEY, payload)
    assert ResultCache(cache.folder).get(KEY) == payload


parts = st.lists(st.binary(max_size=4), max_size=3)


@given(first=parts, second=parts)
@settings(derandomize=True, max_examples=200)
def test_keys_are_equal_only_for_equal_parts(first, second):
    assert (result_key("1", "r", first) == result_key("1", "r", second)) == (first == second)


def test_code_version_and_recipe_change_the_key():
    assert (
        len(
            {
                result_key("1", "a", []),
                result_key("2", "a", []),
                result_key("1", "b", []),
                result_key("1a", "", []),
            }
        )
        == 4
    )


def test_a_damaged_entry_is_not_there_wherever_it_was_hit(tmp_path):
    cache = ResultCache(tmp_path)
    cache.put(KEY, b"payload")
    good = entry_of(cache).read_bytes()
    for position in range(len(good)):
        entry_of(cache).write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        assert cache.get(KEY) is None
        cache.put(KEY, b"payload")
        assert entry_of(cache).read_bytes() == good


def test_a_truncated_entry_is_not_there_at_any_length(tmp_path):
    cache = ResultCache(tmp_path)
    cache.put(KEY, b"payload")
    path = entry_of(cache)
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        assert cache.get(KEY) is None


def test_an_entry_under_another_name_is_not_accepted(tmp_path):
    cache = ResultCache(tmp_path)
    cache.put(KEY, b"payload")
    other = result_key("1", "other", [])
    (tmp_path / other[:2]).mkdir(exist_ok=True)
    entry_of(cache).rename(tmp_path / other[:2] / f"{other}.result")
    assert cache.get(other) is None


def test_a_stored_result_comes_back(tmp_path):
    cache = ResultCache(tmp_path)
    cache.put(KEY, b"once")
    assert cache.get(KEY) == b"once"


def test_the_least_recently_used_results_leave_first(tmp_path):
    cache = ResultCache(tmp_path, max_bytes=3 * (32 + 100))
    keys = [result_key("1", str(n), []) for n in range(4)]
    for age, key in enumerate(keys[:3]):
        cache.put(key, bytes(100))
        os.utime(tmp_path / key[:2] / f"{key}.result", (1000 + age, 1000 + age))
    assert cache.get(keys[0]) is not None  # used: now the youngest
    cache.put(keys[3], bytes(100))
    assert [cache.get(key) is not None for key in keys] == [True, False, True, True]


def test_a_result_larger_than_the_bound_is_not_kept_and_harms_nothing(tmp_path):
    cache = ResultCache(tmp_path, max_bytes=1000)
    cache.put(KEY, b"small")
    cache.put(result_key("1", "big", []), bytes(2000))
    assert cache.get(KEY) == b"small"


def test_no_temporary_file_stays_behind(tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError("disk gone")

    cache = ResultCache(tmp_path)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="disk gone"):
        cache.put(KEY, b"payload")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    (tmp_path / "ab").mkdir()
    leftover = tmp_path / "ab" / "x.tmp"
    leftover.touch()
    os.utime(leftover, (1000, 1000))
    ResultCache(tmp_path).put(KEY, b"payload")
    assert not leftover.exists()


def test_the_environment_chooses_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "café cache"))
    assert default_cache_folder() == tmp_path / "café cache"
    assert ResultCache().folder == tmp_path / "café cache"
    monkeypatch.delenv(CACHE_VARIABLE)
    assert default_cache_folder().is_absolute()


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "short", "ab/cdefghijkl"])
def test_a_key_that_could_leave_the_folder_is_refused(tmp_path, key):
    with pytest.raises(ValueError, match="not a key"):
        ResultCache(tmp_path).get(key)
