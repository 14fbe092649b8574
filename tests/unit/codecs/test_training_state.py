"""What a training leaves on disk when it ends, whatever the way."""

import pytest
import torch

from scene_codec.codecs import training_state
from scene_codec.codecs.training_state import kept_state, read_training_state, write_training_state
from scene_codec.errors import Cancelled, UnsupportedSceneError


class Counting:
    """A training whose only state is how far it is, and a tensor."""

    def __init__(self):
        self.step = 0

    def state(self):
        return {"step": self.step, "value": torch.full((3,), float(self.step))}

    def restore(self, state):
        self.step = state["step"]
        assert state["value"].tolist() == [self.step] * 3

    def run(self, steps, path, error=None, interval_s=1e9):
        with kept_state(self, path, interval_s) as after_step:
            while self.step < steps:
                self.step += 1
                after_step()
            if error is not None:
                raise error


@pytest.mark.parametrize("error", [None, Cancelled("stop"), KeyboardInterrupt(), MemoryError()])
def test_a_training_goes_on_where_it_ended_however_that_was(tmp_path, error):
    path = tmp_path / "checkpoint.pt"
    if error is None:
        Counting().run(5, path)
    else:
        with pytest.raises(type(error)):
            Counting().run(5, path, error)
    training = Counting()
    training.run(7, path)
    assert training.step == 7
    assert read_training_state(path)["step"] == 7


def test_the_state_of_a_lost_training_goes(tmp_path):
    path = tmp_path / "checkpoint.pt"
    Counting().run(5, path)
    with pytest.raises(UnsupportedSceneError):
        Counting().run(6, path, UnsupportedSceneError("lost"))
    assert not path.exists()


def test_a_training_that_did_not_begin_leaves_nothing(tmp_path):
    with pytest.raises(Cancelled):
        Counting().run(0, tmp_path / "checkpoint.pt", Cancelled("stop"))
    assert not list(tmp_path.iterdir())


def test_the_state_is_written_on_the_way_after_each_interval_and_not_before(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        training_state, "write_training_state", lambda _, state: written.append(state["step"])
    )
    clock = iter(range(100))
    monkeypatch.setattr(training_state.time, "monotonic", lambda: next(clock))
    Counting().run(6, tmp_path / "checkpoint.pt", interval_s=1.5)
    assert written[-1] == 6
    assert 1 < len(written) < 6


def test_without_a_file_nothing_is_kept():
    training = Counting()
    training.run(3, None)
    assert training.step == 3


def test_damaged_states_are_none(tmp_path):
    path = tmp_path / "checkpoint.pt"
    assert read_training_state(path) is None
    write_training_state(path, {"step": 3})
    whole = path.read_bytes()
    for damaged in (b"", whole[:40], whole[:-1], whole + b"x", b"x" + whole[1:]):
        path.write_bytes(damaged)
        assert read_training_state(path) is None
