"""Jobs advance step by step, and every way they can end is seen in the table and cleans up."""

import pytest
from scene_codec_addon import jobs
from scene_codec_addon.jobs import JobState, Step


@pytest.fixture(autouse=True)
def empty_table():
    yield
    for job in jobs.active():
        jobs.abandon(job.id, "the test is over")
    jobs.clear_finished()


def counting(cleaned, steps=3, ending=None):
    """Return a job's generator that counts its steps, and notes that it was cleaned up."""

    def make(job):
        try:
            for number in range(steps):
                job.check_cancelled()
                job.report(number / steps, f"step {number}")
                yield Step.MORE if number % 2 else Step.WAIT
            if ending is not None:
                raise ending
            job.result = {"steps": steps}
        finally:
            cleaned.append(job.id)

    return make


def test_nothing_runs_before_the_first_advance():
    cleaned = []
    job = jobs.start("test", "Test", counting(cleaned))
    assert (job.state, job.message, cleaned) == (JobState.RUNNING, "", [])


def test_a_job_ends_done_with_its_result():
    cleaned, pauses = [], []
    job = jobs.start("test", "Test", counting(cleaned))
    jobs.run_to_end(job, lambda: pauses.append(job.message))
    assert (job.state, job.result, job.fraction) == (JobState.DONE, {"steps": 3}, 1.0)
    assert pauses == ["step 0", "step 2"]
    assert cleaned == [job.id]


def test_a_failure_keeps_its_words():
    cleaned = []
    job = jobs.start("test", "Test", counting(cleaned, ending=jobs.JobFailedError("No disk.")))
    jobs.run_to_end(job, lambda: None)
    assert (job.state, job.error, cleaned) == (JobState.FAILED, "No disk.", [job.id])


def test_a_full_disk_is_a_failure_and_not_an_accident():
    job = jobs.start("test", "Test", counting([], ending=OSError(28, "No space left on device")))
    jobs.run_to_end(job, lambda: None)
    assert job.state is JobState.FAILED
    assert "No space left on device" in job.error


def test_an_error_of_our_own_ends_the_job_and_is_raised():
    job = jobs.start("test", "Test", counting([], ending=KeyError("x")))
    with pytest.raises(KeyError):
        jobs.run_to_end(job, lambda: None)
    assert job.state is JobState.FAILED
    assert "KeyError" in job.error


def test_a_cancelled_job_ends_at_its_next_step_and_cleans_up():
    cleaned = []
    job = jobs.start("test", "Test", counting(cleaned, steps=1000))
    jobs.advance(job.id, 0.0)
    jobs.cancel(job.id)
    assert job.cancelling
    jobs.run_to_end(job, lambda: None)
    assert (job.state, cleaned) == (JobState.CANCELLED, [job.id])


def test_an_abandoned_job_is_cleaned_up_at_once():
    cleaned = []
    job = jobs.start("test", "Test", counting(cleaned))
    jobs.advance(job.id, 0.0)
    jobs.abandon(job.id, "Blender quits.")
    assert (job.state, job.message, cleaned) == (JobState.CANCELLED, "Blender quits.", [job.id])
    jobs.abandon(job.id, "again")
    jobs.cancel(job.id)
    assert (job.state, job.message) == (JobState.CANCELLED, "Blender quits.")


def test_a_job_that_was_cleared_is_nowhere_and_harmless():
    job = jobs.start("test", "Test", counting([]))
    jobs.run_to_end(job, lambda: None)
    jobs.clear_finished()
    assert jobs.find(job.id) is None
    assert jobs.advance(job.id, 0.0) is Step.WAIT
    jobs.cancel(job.id)
    jobs.abandon(job.id, "gone")


def test_running_jobs_stay_in_the_table_however_many_have_ended():
    running = jobs.start("test", "Running", counting([]))
    for _ in range(jobs.KEPT_JOBS + 5):
        jobs.run_to_end(jobs.start("test", "Short", counting([], steps=0)), lambda: None)
    newest = jobs.start("test", "Newest", counting([]))
    assert jobs.find(running.id) is running
    assert jobs.listed()[0] is newest
    assert len(jobs.listed()) == jobs.KEPT_JOBS + 2
    assert jobs.active() == [running, newest]


def test_a_fraction_stays_between_zero_and_one():
    job = jobs.start("test", "Test", counting([]))
    for given, shown in ((-1.0, 0.0), (2.0, 1.0), (0.5, 0.5)):
        job.report(given, "")
        assert job.fraction == shown
