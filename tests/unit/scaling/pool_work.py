"""Work for the pool tests: functions that another process finds by name."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scene_codec.errors import Cancelled, UnsupportedSceneError


def square(number: int) -> int:
    return number * number


def square_unless_odd(number: int) -> int:
    if number % 2:
        raise UnsupportedSceneError(f"object {number}: odd")
    return number * number


def square_or_die(number: int) -> int:
    if number == 7:
        os._exit(3)
    return number * number


def die_the_first_time(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os._exit(1)
    return "second time"


def die_if_odd(number: int) -> int:
    if number % 2:
        os._exit(3)
    return number * number


def leave_python_if_odd(number: int) -> int:
    if number % 2:
        sys.exit(4)
    return number * number


def die_and_leave_a_child(marker: str) -> None:
    """The child inherits all that the process has open."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    Path(marker).write_text(str(child))
    os._exit(3)


def own_process(_: int) -> int:
    return os.getpid()


class DiesOnArrival:
    """A job whose process dies before the job begins: the first `times`."""

    def __init__(self, folder: str, times: int) -> None:
        self.folder = folder
        self.times = times

    def __reduce__(self) -> tuple[Callable[[str, int], int], tuple[str, int]]:
        return _arrive, (self.folder, self.times)


def _arrive(folder: str, times: int) -> int:
    before = len(list(Path(folder).iterdir()))
    if before < times:
        Path(folder, str(before)).touch()
        os._exit(3)
    return before


class RefusesToArrive:
    """A result that can be packed and not unpacked."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _refuse, ()


def _refuse() -> None:
    raise OSError("does not unpack")


def return_what_does_not_arrive_if_odd(number: int) -> object:
    return RefusesToArrive() if number % 2 else number * number


def cancel(number: int) -> int:
    raise Cancelled("stop")


def return_something_unpicklable(number: int) -> object:
    return lambda: number


def hang(marker: str) -> None:
    Path(marker).write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)


def thread_settings(_: int) -> tuple[str, int]:
    import torch

    return os.environ["OMP_NUM_THREADS"], torch.get_num_threads()
