"""The real service behind the add-on's real client, with small methods that do what jobs could do to it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scene_codec_addon import protocol
from scene_codec_addon.backend_client import BackendClient
from scene_codec_addon.backend_process import BackendError

FOLDER = Path(__file__).parent
ADDON = FOLDER.parents[1] / "blender_addon"
SERVICE = FOLDER / "serve_tiny.py"
TIMEOUT_S = 60
GREETING = {"protocol": protocol.PROTOCOL_VERSION, "addon_version": "0"}


@pytest.fixture
def log_path(tmp_path):
    return tmp_path / "lög" / "backend.log"


@pytest.fixture
def start(log_path):
    clients = []

    def start_client():
        command = [sys.executable, "-u", str(SERVICE), "--log", str(log_path)]
        clients.append(BackendClient.start(command, log_path, "0.1.0"))
        return clients[-1]

    yield start_client
    for client in clients:
        client.close(grace_s=5.0)


@pytest.fixture
def client(start):
    client = start()
    client.wait_until_ready(TIMEOUT_S)
    client.poll()
    return client


@pytest.fixture
def outcome(wait_for):
    """Poll until a job has ended; return its last event."""

    def wait_until_ended(client, job, seen=None):
        seen = [] if seen is None else seen

        def ended():
            seen.extend(client.poll())
            return [e for e in seen if e.job_id == job and e.kind in ("done", "error", "cancelled")]

        (event,) = wait_for(ended)
        return event

    return wait_until_ended


@pytest.fixture
def running_pid(wait_for):
    """Wait until a job has written its process id to the marker; return it."""
    return lambda marker: int(wait_for(lambda: marker.exists() and marker.read_text()))


def refusal(client, method, params):
    with pytest.raises(BackendError) as caught:
        client.call(method, params, TIMEOUT_S)
    return caught.value


def test_the_greeting_tells_versions_devices_codecs_and_the_log(start, log_path):
    hello = start().wait_until_ready(TIMEOUT_S)
    assert hello["protocol"] == protocol.PROTOCOL_VERSION
    assert set(hello) == {"protocol", "version", "pid", "python", "torch", "devices", "codecs", "log"}
    assert Path(hello["log"]) == log_path
    assert "says hello" in log_path.read_text("utf-8")


def test_a_job_answers_with_progress_of_every_stage_and_warnings(client):
    events = []
    client.call("count", {}, TIMEOUT_S, events.append)
    assert [e.data["stage"] for e in events if e.kind == "progress"] == [f"stage {n}" for n in range(5)]
    assert [e.data["text"] for e in events if e.kind == "log"] == ["a word of warning"]


def test_every_job_has_a_process_of_its_own(client):
    pids = {client.call("count", {}, TIMEOUT_S) for _ in range(3)}
    assert len(pids) == 3
    assert client.pid not in pids


def test_jobs_run_one_at_a_time_in_the_order_of_their_requests(client, outcome):
    jobs = [client.submit("echo", {"value": n}) for n in range(4)]
    seen = []
    outcome(client, jobs[-1], seen)
    assert [(e.job_id, e.data["result"]) for e in seen if e.kind == "done"] == list(
        zip(jobs, range(4), strict=True)
    )


def test_a_thousand_small_requests_are_answered(client, wait_for):
    jobs = [client.submit("list_codecs", {}) for _ in range(1000)]
    answers = []

    def all_answered():
        answers.extend(client.poll())
        return len(answers) >= 1000

    wait_for(all_answered)
    assert [(e.job_id, e.kind, e.data["result"]) for e in answers] == [
        (job, "done", ["tiny"]) for job in jobs
    ]


def test_quick_methods_answer_while_a_job_runs_and_without_torch(client, tmp_path, running_pid):
    marker = tmp_path / "marker"
    job = client.submit("wait_for_cancel", {"marker": str(marker)})
    running_pid(marker)
    assert client.call("glance", {"value": 5}, TIMEOUT_S) == [5, False]
    assert refusal(client, "glance", {"value": "fail"}).code == "unsupported-scene"
    assert client.call("doctor", {}, TIMEOUT_S)["advice"] == []
    client.cancel(job)


@pytest.mark.parametrize(("method", "word"), [("crash", "exit code 77"), ("segfault", "signal SIG")])
def test_a_crash_costs_the_job_and_not_the_service(client, log_path, method, word):
    error = refusal(client, method, {})
    assert error.code == "backend-crash"
    assert word in str(error)
    assert str(log_path) in str(error)
    assert client.call("echo", {"value": "alive"}, TIMEOUT_S) == "alive"


def test_the_last_words_of_a_crashed_job_are_in_the_log(client, log_path):
    refusal(client, "crash", {})
    assert "the last words" in log_path.read_text("utf-8")


def test_exceptions_become_answers_and_bugs_are_logged(client, log_path):
    assert (refusal(client, "fail", {}).code, refusal(client, "blunder", {}).code) == (
        "unsupported-scene",
        "internal-error",
    )
    assert refusal(client, "leave", {}).code == "internal-error"
    assert "Traceback" in log_path.read_text("utf-8")


def test_stray_prints_in_a_job_reach_the_log_and_never_the_channel(client, log_path, wait_for):
    prints = ("a stray print", "native code prints", "a child prints", "forged")
    assert client.call("print_everywhere", {}, TIMEOUT_S) == "fine"
    # The answer and the prints travel through two pipes, each with a reader of its own.
    wait_for(lambda: all(text in log_path.read_text("utf-8") for text in prints))


def test_an_answer_that_is_too_long_is_refused_with_its_size(client):
    assert "the limit is" in str(refusal(client, "return_too_much", {}))
    assert client.call("echo", {"value": 1}, TIMEOUT_S) == 1


def test_a_waiting_job_and_the_running_job_can_be_cancelled(client, tmp_path, outcome, running_pid):
    marker = tmp_path / "marker"
    running = client.submit("wait_for_cancel", {"marker": str(marker)})
    waiting = client.submit("echo", {"value": 1})
    last = client.submit("echo", {"value": 2})
    running_pid(marker)
    seen = []
    client.cancel(waiting)
    assert outcome(client, waiting, seen).kind == "cancelled"
    assert not [e for e in seen if e.job_id == running and e.kind != "progress"]
    client.cancel(running)
    assert outcome(client, running, seen).kind == "cancelled"
    assert outcome(client, last, seen).data["result"] == 2


def test_a_job_that_ignores_its_cancellation_is_killed(
    client, tmp_path, outcome, wait_for, process_runs, running_pid
):
    marker = tmp_path / "marker"
    job = client.submit("hold_the_interpreter", {"marker": str(marker)})
    pid = running_pid(marker)
    client.cancel(job)
    assert outcome(client, job).kind == "cancelled"
    wait_for(lambda: not process_runs(pid))
    assert client.call("echo", {"value": 1}, TIMEOUT_S) == 1


def test_cancelling_what_does_not_exist_says_so(client):
    assert client.call("cancel", {"job": 12345}, TIMEOUT_S) == {"cancelled": False}


@pytest.mark.parametrize(
    ("method", "params", "code", "words"),
    [
        ("echo", {}, "invalid-request", "value"),
        ("echo", {"value": 1, "more": 2}, "invalid-request", "more"),
        ("wait_for_cancel", {"marker": 5}, "invalid-request", r"marker"),
        ("list_codecs", {"x": 1}, "invalid-request", "x"),
        ("cancel", {"job": 1.5}, "invalid-request", "job"),
        ("encode", {}, "unknown-method", "echo"),
        ("", {}, "unknown-method", "echo"),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason(client, method, params, code, words):
    error = refusal(client, method, params)
    assert error.code == code
    assert words in error.message


def test_another_protocol_version_is_refused_on_the_services_side_too(start):
    error = refusal(start(), "hello", {"protocol": 999, "addon_version": "9", "unknown": 1})
    assert error.code == "protocol-mismatch"
    assert "Repair" in error.hint


def test_an_environment_in_which_workers_cannot_start_is_told_and_does_not_loop(start, monkeypatch, log_path):
    monkeypatch.setenv("TINY_METHODS_CANNOT_START", "1")
    with pytest.raises(BackendError, match="DLL load failed") as caught:
        start().wait_until_ready(TIMEOUT_S)
    assert caught.value.code == "backend-crash"
    assert log_path.read_text("utf-8").count("DLL load failed") < 5


@pytest.mark.parametrize("end", ["close", "terminate", "kill"])
def test_no_process_outlives_the_service(client, tmp_path, wait_for, process_runs, running_pid, end):
    marker = tmp_path / "marker"
    job = client.submit("hold_the_interpreter", {"marker": str(marker)})
    worker = running_pid(marker)
    if end == "close":
        client.close()
    else:
        os.kill(client.pid, signal.SIGTERM if end == "terminate" else signal.SIGKILL)
    wait_for(lambda: not process_runs(client.pid) and not process_runs(worker))
    events = []
    wait_for(lambda: events.extend(client.poll()) or any(e.kind == "backend-exited" for e in events))
    assert [e.kind for e in events if e.job_id == job] == ["error"]


@pytest.mark.parametrize("method", ["wait_for_cancel", "ignore_cancel", "hold_the_interpreter"])
def test_no_process_outlives_a_host_that_was_killed(tmp_path, log_path, wait_for, process_runs, method):
    pids_path = tmp_path / "pids"
    arguments = [ADDON, SERVICE, log_path, method, tmp_path / "marker", pids_path]
    with subprocess.Popen([sys.executable, str(FOLDER / "lost_host.py"), *map(str, arguments)]) as host:
        pids = [int(word) for word in wait_for(lambda: pids_path.exists() and pids_path.read_text()).split()]
        assert all(process_runs(pid) for pid in pids)
        host.kill()
    wait_for(lambda: not any(process_runs(pid) for pid in pids))


class RawService:
    """The service without the client, to send it what the client never would."""

    def __init__(self, log_path):
        command = [sys.executable, "-u", str(SERVICE), "--log", str(log_path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def receive(self):
        return protocol.decode_message(protocol.read_line(self.process.stdout))

    def ask(self, job, method, params):
        self.send(protocol.encode_message(protocol.request(job, method, params)))
        return self.receive()


@pytest.fixture
def raw(log_path):
    service = RawService(log_path)
    yield service
    service.process.stdin.close()
    assert service.process.wait(timeout=TIMEOUT_S) == 0
    for line in service.process.stdout:
        protocol.decode_message(line)
    service.process.stdout.close()


def test_nothing_is_answered_before_the_greeting(raw):
    assert raw.ask("a", "list_codecs", {})["error"]["data"]["code"] == "no-handshake"
    assert raw.ask("b", "hello", GREETING)["result"]["codecs"] == ["tiny"]


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b"\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'{"jsonrpc":"2.0","id":true,"method":"hello"}\n',
        b"[" * 200_000 + b"\n",
    ],
)
def test_a_bad_line_is_refused_and_the_next_one_is_read(raw, line):
    raw.send(line)
    answer = raw.receive()
    assert answer["id"] is None
    assert answer["error"]["data"]["code"] in ("parse-error", "bad-message")
    assert "result" in raw.ask(1, "hello", GREETING)


def test_a_line_without_end_is_skipped_whole(raw):
    raw.send(b"x" * (protocol.MAX_LINE_BYTES + 1000) + b"\n")
    assert raw.receive()["error"]["data"]["code"] == "bad-message"
    assert "result" in raw.ask(1, "hello", GREETING)


def test_an_id_in_use_is_refused_and_its_job_goes_on(raw, tmp_path, wait_for):
    raw.ask(1, "hello", GREETING)
    marker = tmp_path / "marker"
    raw.send(protocol.encode_message(protocol.request("x", "ignore_cancel", {"marker": str(marker)})))
    wait_for(marker.exists)
    assert raw.ask("x", "echo", {"value": 1})["error"]["data"]["code"] == "bad-message"


def test_notifications_and_answers_from_the_host_are_left_aside(raw):
    raw.send(protocol.encode_message(protocol.notification("hello", {})))
    raw.send(protocol.encode_message(protocol.result_answer(5, "what?")))
    assert "result" in raw.ask(1, "hello", GREETING)


def test_shutdown_is_answered_and_cancels_the_running_job(raw, tmp_path, wait_for):
    raw.ask(1, "hello", GREETING)
    marker = tmp_path / "marker"
    raw.send(protocol.encode_message(protocol.request(2, "wait_for_cancel", {"marker": str(marker)})))
    wait_for(marker.exists)
    raw.send(protocol.encode_message(protocol.request(3, "shutdown", {})))
    answers = {}
    while 3 not in answers:
        message = raw.receive()
        answers[message.get("id")] = message
    assert answers[2]["error"]["data"]["code"] == "cancelled"
    assert answers[3]["result"] == {}
