"""A job finds what its interrupted run left, and leaves nothing when it is done."""

import os
import subprocess
import sys
import time

import pytest

from scene_codec.scaling.job_folders import KEPT_FOR_S, job_folder

KEY = "0123456789abcdef"


def jobs_in(root):
    return sorted(path.name for path in (root / "jobs").iterdir())


def be_interrupted(root):
    with job_folder(KEY, root) as folder:
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt


def test_an_interrupted_job_finds_its_files_and_a_finished_one_leaves_none(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        be_interrupted(tmp_path)
    with job_folder(KEY, tmp_path) as folder:
        assert (folder / "checkpoint").read_text() == "half"
    assert jobs_in(tmp_path) == []


def test_a_second_run_of_the_same_job_gets_a_folder_of_its_own(tmp_path):
    with job_folder(KEY, tmp_path) as first:
        (first / "mine").write_text("1")
        with job_folder(KEY, tmp_path) as second:
            assert second != first
            assert list(second.iterdir()) == []
        assert (first / "mine").exists()
    assert jobs_in(tmp_path) == []


def test_the_folder_of_a_killed_process_is_taken_over(tmp_path):
    holder = [
        sys.executable, "-c",
        "import pathlib, sys, time; from scene_codec.scaling.job_folders import job_folder\n"
        f"with job_folder({KEY!r}, pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'checkpoint').write_text('half'); print('ready', flush=True); time.sleep(600)",
        str(tmp_path),
    ]  # fmt: skip
    with subprocess.Popen(holder, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().strip() == b"ready"
        with job_folder(KEY, tmp_path) as other:
            assert not (other / "checkpoint").exists()
        process.kill()
    with job_folder(KEY, tmp_path) as found:
        assert (found / "checkpoint").exists()


def test_what_nobody_came_back_to_is_thrown_away(tmp_path):
    old = tmp_path / "jobs" / "forgotten"
    old.mkdir(parents=True)
    past = time.time() - KEPT_FOR_S - 60
    os.utime(old, (past, past))
    with job_folder(KEY, tmp_path):
        assert jobs_in(tmp_path) == [KEY]
