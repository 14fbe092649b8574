"""The add-on's client, the real service and the real codec: objects become a file and come back."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from scene_codec_addon.array_files import ArrayFolder
from scene_codec_addon.backend_client import BackendClient
from scene_codec_addon.backend_process import BackendError, service_command

from scene_codec.bitstream import MAGIC

TIMEOUT_S = 300
SETTINGS = {
    "resolution": 32,
    "widths": [6, 5, 4],
    "minimum_steps": 30,
    "epochs": 1,
    "added_epochs": 5,
}
ENDLESS = {**SETTINGS, "minimum_steps": 1_000_000}

CUBE_VERTICES = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float32)
CUBE_SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
CUBE_FACES = CUBE_SIDES[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3).astype(np.int32)
TRANSFORM = [float(n) for n in (2, 0, 0, -5, 0, 1, 0.5, 1000, 0, -0.5, 1, 0, 0, 0, 0, 1)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("wörk place")


@pytest.fixture(scope="module")
def arrays(workplace):
    with ArrayFolder(workplace) as folder:
        yield folder


@pytest.fixture(scope="module")
def start(workplace):
    """Start a backend of its own; all share one cache in the temporary folder."""
    clients = []

    def start_client():
        log = workplace / f"backend {len(clients)}.log"
        clients.append(BackendClient.start(service_command(sys.executable, log), log, "0.1.0"))
        clients[-1].wait_until_ready(TIMEOUT_S)
        return clients[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCENE_CODEC_CACHE", str(workplace / "cache"))
        # Threads that wait for each other on a busy machine make tiny networks a hundred times slower.
        patch.setenv("OMP_NUM_THREADS", "1")
        yield start_client
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def client(start):
    return start()


def cube(arrays, name, stretch=1.0, **fields):
    return {
        "name": name,
        "vertices": arrays.write(CUBE_VERTICES * np.float32([1, 1, stretch])),
        "faces": arrays.write(CUBE_FACES),
        "transform": TRANSFORM,
        "host": {"collection": "Möbel", "slots": ["a", None]},
        **fields,
    }


@pytest.fixture(scope="module")
def encoded(client, arrays, workplace):
    """Encode two cubes; return the report and the stages that were told on the way."""
    (workplace / "out").mkdir()
    events = []
    params = {
        "objects": [cube(arrays, "Würfel"), cube(arrays, "hoch", 2.0)],
        "output": str(workplace / "out" / "Szene é.nscene"),
        "codec": "mesh-necgs",
        "settings": SETTINGS,
    }
    return client.call("encode", params, TIMEOUT_S, events.append), events


def refusal(client, method, params):
    with pytest.raises(BackendError) as caught:
        client.call(method, params, TIMEOUT_S)
    return caught.value


def test_encoding_reports_sizes_and_progress_and_writes_one_file(encoded):
    report, events = encoded
    path = Path(report["path"])
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert report["file_bytes"] == path.stat().st_size
    assert [item["name"] for item in report["objects"]] == ["Würfel", "hoch"]
    assert report["failures"] == []
    fractions = [event.data["fraction"] for event in events if event.kind == "progress"]
    assert fractions == sorted(fractions)
    assert len({event.data["stage"] for event in events if event.kind == "progress"}) > 1


def test_decoding_brings_back_names_places_host_data_and_arrays(client, encoded, arrays):
    params = {"file": encoded[0]["path"], "folder": str(arrays.subfolder())}
    result = client.call("decode", params, TIMEOUT_S)
    assert result["failures"] == []
    for item, name in zip(result["objects"], ["Würfel", "hoch"], strict=True):
        assert item["name"] == name
        assert item["transform"] == TRANSFORM
        assert item["host"] == {"collection": "Möbel", "slots": ["a", None]}
        vertices, faces = arrays.read(item["vertices"]), arrays.read(item["faces"])
        assert vertices.shape[1] == faces.shape[1] == 3
        assert faces.size == 0 or faces.max() < len(vertices)


def test_an_estimate_is_told_with_progress_and_writes_nothing(client, arrays, workplace):
    events, before = [], sorted(workplace.rglob("*.nscene"))
    params = {"objects": [cube(arrays, "a"), cube(arrays, "b", 2.0)], "settings": {"target_error": 0.2}}
    report = client.call("estimate", params, TIMEOUT_S, events.append)
    assert [item["name"] for item in report["objects"]] == ["a", "b"]
    assert all(item["bytes"] > 0 and 0 < item["triangles"] <= 12 for item in report["objects"])
    assert any(event.kind == "progress" for event in events)
    assert sorted(workplace.rglob("*.nscene")) == before
    refused = refusal(client, "estimate", {**params, "codec": "mesh-necgs"})
    assert refused.code == "invalid-request"


def test_a_missed_target_is_told_and_decoding_keeps_a_budget(client, arrays, workplace):
    output = str(workplace / "budget.nscene")
    params = {"objects": [cube(arrays, "a")], "output": output, "settings": {"target_size": 64}}
    report = client.call("encode", {**params, "settings": {"faces": 4, "target_error": 0.01}}, TIMEOUT_S)
    assert any("is not within the 0.01 %" in line for line in report["missed"])
    assert client.call("encode", {**params, "settings": {}}, TIMEOUT_S)["missed"] == []
    params = {"file": output, "triangles": 8, "folder": str(arrays.subfolder())}
    (item,) = client.call("decode", params, TIMEOUT_S)["objects"]
    assert 0 < len(arrays.read(item["faces"])) <= 8


def test_inspecting_adds_up(client, encoded):
    summary = client.call("inspect", {"file": encoded[0]["path"]}, TIMEOUT_S)
    sections = summary["shared"]
    objects = summary["objects"]
    assert [item["name"] for item in objects] == ["Würfel", "hoch"]
    parts = [summary["header_bytes"], *(s["bytes"] for s in sections), *(o["bytes"] for o in objects)]
    assert sum(parts) == summary["file_bytes"]


def test_an_added_object_can_be_decoded_alone(client, encoded, arrays, workplace):
    output = workplace / "added.nscene"
    params = {"file": encoded[0]["path"], "objects": [cube(arrays, "neu", 3.0)], "output": str(output)}
    report = client.call("add", params, TIMEOUT_S)
    assert report["file_bytes"] == output.stat().st_size
    params = {"file": str(output), "only": ["neu"], "folder": str(arrays.subfolder())}
    assert [item["name"] for item in client.call("decode", params, TIMEOUT_S)["objects"]] == ["neu"]


def test_a_damaged_object_is_named_and_the_others_come_back(client, encoded, arrays, workplace):
    content = bytearray(Path(encoded[0]["path"]).read_bytes())
    content[-1] ^= 1
    damaged = workplace / "damaged.nscene"
    damaged.write_bytes(content)
    params = {"file": str(damaged), "folder": str(arrays.subfolder())}
    result = client.call("decode", params, TIMEOUT_S)
    assert [item["name"] for item in result["objects"]] == ["Würfel"]
    assert [item["name"] for item in result["failures"]] == ["hoch"]
    assert result["failures"][0]["reason"]


def test_files_that_are_none_are_refused_and_nothing_is_written(client, arrays, workplace):
    wrong = workplace / "wrong.nscene"
    wrong.write_bytes(b"no scene at all" * 10)
    folder = arrays.subfolder()
    assert refusal(client, "inspect", {"file": str(wrong)}).code == "corrupt-file"
    assert refusal(client, "decode", {"file": str(wrong), "folder": str(folder)}).code == "corrupt-file"
    assert list(folder.iterdir()) == []


def test_wrong_requests_are_refused_by_name(client, encoded, arrays, workplace):
    output = str(workplace / "never.nscene")
    good = {"objects": [cube(arrays, "x")], "output": output, "codec": "mesh-necgs", "settings": SETTINGS}
    file = encoded[0]["path"]
    for method, params, words in [
        ("encode", good | {"codec": "no such codec"}, "no such codec"),
        ("encode", good | {"settings": {"no_such_field": 1}}, "no_such_field"),
        ("encode", good | {"output": "relative.nscene"}, "absolute"),
        ("decode", {"file": file, "folder": str(arrays.path), "only": ["nobody"]}, "nobody"),
    ]:
        error = refusal(client, method, params)
        assert error.code == "invalid-request", error
        assert words in error.message
    assert not Path(output).exists()


def test_objects_that_cannot_be_coded_are_named_with_the_reason(client, arrays, workplace):
    empty = arrays.write(np.zeros((0, 3), np.float32))
    objects = [
        cube(arrays, "gut"),
        cube(arrays, "leer") | {"vertices": empty, "faces": arrays.write(CUBE_FACES[:0])},
    ]
    params = {"objects": objects, "output": str(workplace / "some.nscene"), "codec": "mesh-necgs"}
    params["settings"] = SETTINGS
    report = client.call("encode", params, TIMEOUT_S)
    assert [item["name"] for item in report["objects"]] == ["gut"]
    assert [item["name"] for item in report["failures"]] == ["leer"]
    error = refusal(client, "encode", params | {"objects": objects[1:]})
    assert error.code == "unsupported-scene"
    assert "leer" in error.message


@pytest.mark.parametrize("end", ["cancel", "kill"])
def test_an_encoding_that_is_cancelled_or_killed_leaves_the_old_file_as_it_was(
    start, arrays, workplace, wait_for, end
):
    client = start()
    folder = workplace / end
    folder.mkdir()
    output = folder / "scene.nscene"
    precious = MAGIC + b"precious"
    output.write_bytes(precious)
    objects = [cube(arrays, "x")]
    job = client.submit(
        "encode", {"objects": objects, "output": str(output), "codec": "mesh-necgs", "settings": ENDLESS}
    )
    events = []
    wait_for(
        lambda: events.extend(client.poll()) or any(e.data.get("stage") == "training" for e in events),
        TIMEOUT_S,
    )
    if end == "cancel":
        client.cancel(job)
    else:
        os.kill(client.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    last = ("done", "error", "cancelled")
    wait_for(lambda: events.extend(client.poll()) or any(e.kind in last for e in events))
    (event,) = (e for e in events if e.kind in last)
    assert event.kind == ("cancelled" if end == "cancel" else "error")
    assert [(item.name, item.read_bytes()) for item in folder.iterdir()] == [("scene.nscene", precious)]
