"""The add-on's client against a backend that behaves, and against every way in which one can misbehave."""

import sys
import time
from pathlib import Path

import pytest
from scene_codec_addon import protocol
from scene_codec_addon.backend_client import BackendClient
from scene_codec_addon.backend_process import BackendError

FAKE = Path(__file__).with_name("fake_backend.py")
TIMEOUT_S = 60


@pytest.fixture
def start(tmp_path):
    """Start a client of a fake backend that behaves in a certain manner; all are closed at the end."""
    clients = []

    def start_client(manner="well"):
        command = [sys.executable, "-u", str(FAKE), manner]
        client = BackendClient.start(command, tmp_path / "lög folder" / "backend.log", "0.1.0")
        clients.append(client)
        return client

    yield start_client
    for client in clients:
        client.close(grace_s=0.2)


@pytest.fixture
def collect(wait_for):
    """Poll until an event of one of the kinds has come; return all events until then."""

    def poll_until(client, *kinds):
        events = []

        def arrived():
            events.extend(client.poll())
            return any(event.kind in kinds for event in events)

        wait_for(arrived)
        return events

    return poll_until


def test_a_job_tells_its_progress_its_log_and_its_result_in_this_order(start, collect):
    client = start()
    job = client.submit("work", {})
    events = collect(client, "done")
    assert [(event.kind, event.job_id) for event in events] == [
        ("ready", None),
        ("progress", job),
        ("log", job),
        ("done", job),
    ]
    assert events[1].data == {"stage": "fit", "fraction": 0.25, "message": "", "remaining_s": None}
    assert events[3].data == {"result": "done"}
    assert client.open_jobs == ()


def test_poll_returns_at_once_when_nothing_happened(start):
    client = start("silent")
    assert client.poll() == []
    assert client.hello is None
    assert client.alive


def test_call_returns_the_result_and_leaves_other_jobs_events_alone(start, collect):
    client = start()
    assert client.wait_until_ready(TIMEOUT_S)["version"] == "1"
    other = client.submit("work", {})
    assert client.call("echo", {"text": "häßlich 日本 \U0001f600"}, TIMEOUT_S) == {
        "text": "häßlich 日本 \U0001f600"
    }
    assert [event.kind for event in collect(client, "done") if event.job_id == other] == [
        "progress",
        "log",
        "done",
    ]


def test_call_hands_the_events_of_its_job_to_the_caller(start):
    kinds = []
    assert start().call("work", {}, TIMEOUT_S, lambda event: kinds.append(event.kind)) == "done"
    assert kinds == ["progress", "log"]


def test_a_failed_job_carries_the_backends_words(start, collect):
    client = start()
    job = client.submit("fail", {})
    event = collect(client, "error")[-1]
    assert (event.job_id, event.data["code"], event.data["message"], event.data["hint"]) == (
        job,
        "unsupported-scene",
        "too odd",
        "do better",
    )
    with pytest.raises(BackendError, match="too odd do better") as caught:
        client.call("fail", {}, TIMEOUT_S)
    assert caught.value.code == "unsupported-scene"
    assert client.alive


def test_a_cancelled_job_ends_with_one_cancelled_event(start, collect):
    client = start()
    job = client.submit("wait", {})
    client.cancel(job)
    assert [event.kind for event in collect(client, "cancelled") if event.job_id == job] == ["cancelled"]
    client.cancel(job)  # too late: no effect
    assert client.open_jobs == ()


def test_a_call_that_takes_too_long_is_given_up_and_its_answer_is_not_reported(start):
    client = start()
    with pytest.raises(BackendError, match=r"within 0\.1 s") as caught:
        client.call("wait", {}, 0.1)
    assert caught.value.code == "timeout"
    assert client.call("echo", {"after": 1}, TIMEOUT_S) == {"after": 1}
    assert [event.kind for event in client.poll()] == ["ready"]


@pytest.mark.parametrize(
    "text",
    [
        "stray print\n",
        "\n",
        "[1, 2]\n",
        '{"jsonrpc": "2.0"}\n',
        '{"jsonrpc": "1.0", "id": 2, "result": 1}\n',
        '{"jsonrpc": "2.0", "id": 2, "result": NaN}\n',
        '{"jsonrpc": "2.0", "id": 2, "result": 1, "error": {}}\n',
        '{"jsonrpc": "2.0", "id": 2, "error": "no object"}\n',
        '{"jsonrpc": "2.0", "id": 2, "error": {"data": {}}}\n',
        '{"jsonrpc": "2.0", "id": {}, "result": 1}\n',
        '{"jsonrpc": "2.0", "method": "progress", "params": {"job": 2}}\n',
        '{"jsonrpc": "2.0", "method": "progress", "params": [2]}\n',
        '{"jsonrpc": "2.0", "method": "log", "params": {"job": [], "text": ""}}\n',
        '{"jsonrpc": "2.0", "id": null, "error": {"message": "bad line", "data": {"code": "parse-error"}}}\n',
        '{"jsonrpc": "2.0", "id": 2, "error": {"message": "bad data", "data": []}}\n',
        "[" * 100_000 + "\n",
        "\xff\xfe\n",
    ],
)
def test_garbage_closes_the_channel_and_fails_every_open_job_once(start, collect, text):
    client = start()
    waiting, raw = client.submit("wait", {}), client.submit("raw", {"text": text})
    events = collect(client, "backend-exited")
    assert [event.job_id for event in events if event.kind == "error"] == [waiting, raw]
    assert {event.data["code"] for event in events if event.kind in ("error", "backend-exited")} == {
        "backend-garbage"
    }
    assert events[-1].kind == "backend-exited"
    assert not client.alive
    with pytest.raises(BackendError, match="no message of the protocol"):
        client.submit("echo", {})


def test_a_line_without_end_is_refused_without_keeping_it(start, collect):
    client = start()
    client.submit("huge-line", {})
    (event,) = (event for event in collect(client, "backend-exited") if event.kind == "error")
    assert "more than 16777216 bytes" in event.data["message"]
    assert len(event.data["message"]) < 1000


def test_a_line_that_breaks_off_when_the_backend_dies_is_refused(start, collect):
    client = start()
    client.submit("raw", {"text": '{"jsonrpc": "2.0", "id'})
    client.submit("die", {})
    assert {event.kind for event in collect(client, "backend-exited")} == {"ready", "error", "backend-exited"}


def test_a_backend_that_dies_fails_open_jobs_with_its_exit_code_and_last_words(start, collect):
    client = start()
    waiting, dying = client.submit("wait", {}), client.submit("die", {})
    events = collect(client, "backend-exited")
    errors = [event for event in events if event.kind == "error"]
    assert [event.job_id for event in errors] == [waiting, dying]
    assert "exit code 77" in errors[0].data["message"]
    assert "the last words" in errors[0].data["message"]
    assert errors[0].data["code"] == "backend-exited"
    assert events[-1].data["log"].endswith("backend.log")


def test_a_backend_without_its_package_says_so(start):
    with pytest.raises(BackendError, match="No module named 'scene_codec'"):
        start("dies-at-once").wait_until_ready(TIMEOUT_S)


@pytest.mark.parametrize("manner", ["other-version", "refuses"])
def test_another_protocol_version_is_refused_with_what_to_do(start, manner):
    client = start(manner)
    with pytest.raises(BackendError, match=r"(?i)repair") as caught:
        client.wait_until_ready(TIMEOUT_S)
    assert caught.value.code == "protocol-mismatch"
    assert not client.alive


def test_a_silent_backend_times_out(start):
    with pytest.raises(BackendError, match="did not answer") as caught:
        start("silent").wait_until_ready(0.05)
    assert caught.value.code == "timeout"


def test_a_backend_that_cannot_be_started_is_a_clear_error(tmp_path):
    with pytest.raises(BackendError, match=r"could not be started.*preferences"):
        BackendClient.start([str(tmp_path / "no python")], tmp_path / "backend.log", "0.1.0")


def test_requests_that_are_no_json_or_too_long_are_refused_and_harm_nothing(start):
    client = start()
    for params in ({"x": object()}, {"x": float("nan")}, {"x": "y" * protocol.MAX_LINE_BYTES}):
        with pytest.raises(BackendError, match="message"):
            client.submit("echo", params)
    assert client.call("echo", {}, TIMEOUT_S) == {}


def test_sending_to_a_backend_that_does_not_read_never_blocks(start):
    client = start("silent")
    started = time.monotonic()
    for _ in range(20):
        client.submit("wait", {"padding": "x" * 1_000_000})
    assert time.monotonic() - started < TIMEOUT_S  # a pipe holds 64 kB: blocking would last for ever


def test_close_ends_a_backend_that_does_not_want_to(start, wait_for, process_runs):
    client = start("stays")
    client.wait_until_ready(TIMEOUT_S)
    job = client.submit("wait", {})
    client.close(grace_s=0.1)
    wait_for(lambda: not process_runs(client.pid))
    assert [(event.kind, event.job_id) for event in client.poll()][1:] == [
        ("error", job),
        ("backend-exited", None),
    ]
    client.close()  # again: no effect


def test_the_hosts_python_settings_do_not_reach_the_backend(start, monkeypatch, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('a foreign module')")
    for name, value in {
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": "/nowhere",
        "LD_PRELOAD": "/nowhere.so",
    }.items():
        monkeypatch.setenv(name, value)
    assert start().wait_until_ready(TIMEOUT_S)["version"] == "1"
