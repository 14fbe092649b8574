"""Work for the pool tests: functions that another process finds by name."""

import os
import time
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
