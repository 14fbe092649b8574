"""What a service can do: a table of methods, kept in a module that the server and its workers load by name.

Such a module has two names: `METHODS`, a `MethodTable`, and `describe`, a function without parameters that
a worker calls once after its imports and whose answer tells what `hello` and `doctor` report.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress


@dataclass(frozen=True)
class JobMethod:
    """A method that takes long: `run(params, progress)` is called in a worker process."""

    params: type[msgspec.Struct]
    run: Callable[[Any, Progress], object]


@dataclass(frozen=True)
class QuickMethod:
    """A method that answers at once: `run(params)` is called in a thread of the server, without torch."""

    params: type[msgspec.Struct]
    run: Callable[[Any], object]


@dataclass(frozen=True)
class MethodTable:
    """All methods of a service by name, and what its workers find out about their surroundings."""

    jobs: Mapping[str, JobMethod]
    quick: Mapping[str, QuickMethod]
    describe: Callable[[], dict[str, Any]]


def load_methods(module_name: str) -> MethodTable:
    """Return the table `METHODS` of a module."""
    table = importlib.import_module(module_name).METHODS
    if not isinstance(table, MethodTable):
        raise TypeError(f"{module_name}.METHODS is not a MethodTable")
    return table


def check_params(method: str, params: object, shape: type[msgspec.Struct]) -> Any:  # noqa: ANN401 - a `shape`
    """Return `params` as `shape`. Raises `InvalidRequestError` that names the method and the field."""
    try:
        return msgspec.convert(params, shape, strict=True)
    except msgspec.ValidationError as problem:
        raise InvalidRequestError(f"Wrong parameters for {method!r}: {problem}.") from problem
