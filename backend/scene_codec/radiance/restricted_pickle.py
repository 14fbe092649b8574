"""Pickles as inert records: what a pickle says is kept, and nothing that it names is imported or called.

A pickle is a program for a small stack machine. Its instructions that would call something make a `Record` of
the name and the arguments here, so that a reader can check all of it before the first array is made.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeGuard

from scene_codec.errors import UnsupportedSceneError

MOST_INSTRUCTIONS = 200_000
"""A checkpoint of two networks with the optimiser's state takes a few thousand."""

NUMPY_NAMES = frozenset(
    f"{package}.{name}"
    for package in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "scalar")
) | {"numpy.ndarray", "numpy.dtype", "_codecs.encode"}
"""What NumPy's arrays and scalars are pickled with, in all its versions."""

ORDERED_MAPPING = "collections.OrderedDict"

_LARGEST_KEY = 1 << 60
"""Integers below it hash to themselves; keys that are made to collide could take hours."""

_LITERALS = frozenset({
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
    "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
})  # fmt: skip
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}
_IGNORED = frozenset({"PROTO", "FRAME"})


@dataclass(frozen=True, eq=False)
class Name:
    """A function or class that the pickle names, "module.name"."""

    path: str


@dataclass(eq=False)
class Record:
    """What a pickle would have made by calling `maker`.

    arguments : what it would be called with
    state : what the object's attributes would be set from
    entries : what would be put into it by key
    """

    maker: str
    arguments: tuple[object, ...]
    state: object = None
    entries: dict[object, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Reference:
    """Something that lies outside the pickle."""

    identity: object


def read_pickle(
    path: Path, stream: BytesIO, allowed: Collection[str], references: list[Reference] | None = None
) -> object:
    """Return what one pickle describes; the stream is behind it then.

    The result is made of None, bool, int, float, str, bytes, list, tuple, dict, `Name`, `Record` and
    `Reference`. The pickles of Python 2 give their bytes as str, a character for each.

    allowed : full names of what it may name
    references : where every reference that is made is put as well

    Raises `UnsupportedSceneError` naming what else it names or holds, and ValueError or another plain
    exception when it is damaged.
    """
    machine = _Machine(path, allowed)
    value = machine.run(stream)
    if references is not None:
        references += machine.references
    return value


def as_mapping(value: object) -> dict[object, object] | None:
    """Return the entries of a dict or an ordered one; None for anything else."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, Record) or value.maker != ORDERED_MAPPING:
        return None
    pairs = value.arguments[0] if value.arguments else []
    if not isinstance(pairs, list):
        return None
    entries = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not _is_key(pair[0]):
            return None
        entries[pair[0]] = pair[1]
    return entries | value.entries


def as_bytes(value: object) -> bytes | bytearray | None:
    """Return bytes that a pickle holds in one of the ways of its versions; None for anything else."""
    if isinstance(value, Record) and value.maker == "_codecs.encode" and value.arguments[1:] == ("latin1",):
        value = value.arguments[0]
    if isinstance(value, str):
        return value.encode("latin1")
    return value if isinstance(value, bytes | bytearray) else None


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether a value is a plain integer of at least 0."""
    return type(value) is int and value >= 0


def _is_key(value: object) -> bool:
    return isinstance(value, str) or (is_count(value) and value < _LARGEST_KEY)


def _instructions(stream: BytesIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """Yield the instructions of a pickle and their arguments. Raises ValueError where there is none."""
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode, argument
    except Exception as error:  # of arguments that are cut off, too long or no text
        raise ValueError("its pickle is cut off, or holds what is no instruction") from error


class _Machine:
    """The stack machine: a stack of values, the stacks below the marks, and the values kept for later."""

    def __init__(self, path: Path, allowed: Collection[str]) -> None:
        self.references: list[Reference] = []
        self._path = path
        self._allowed = allowed
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._instructions: dict[str, Callable[[Any], None]] = {
            "MARK": self._mark,
            "POP": self._discard,
            "MEMOIZE": lambda _: self._keep(len(self._memo)),
            "PUT": self._keep,
            "BINPUT": self._keep,
            "LONG_BINPUT": self._keep,
            "GET": self._recall,
            "BINGET": self._recall,
            "LONG_BINGET": self._recall,
            "TUPLE": lambda _: self._push(tuple(self._since_mark())),
            "TUPLE1": lambda _: self._push(tuple(self._drop(1))),
            "TUPLE2": lambda _: self._push(tuple(self._drop(2))),
            "TUPLE3": lambda _: self._push(tuple(self._drop(3))),
            "APPEND": lambda _: self._extend([self._pop()]),
            "APPENDS": lambda _: self._extend(self._since_mark()),
            "SETITEM": lambda _: self._set_items(self._drop(2)),
            "SETITEMS": lambda _: self._set_items(self._since_mark()),
            "GLOBAL": lambda argument: self._name(argument.replace(" ", ".")),
            "STACK_GLOBAL": lambda _: self._name(".".join(self._drop(2))),
            "REDUCE": self._call,
            "NEWOBJ": self._call,
            "BUILD": self._build,
            "BINPERSID": self._refer,
        }

    def run(self, stream: BytesIO) -> object:
        for count, (opcode, argument) in enumerate(_instructions(stream)):
            if opcode.name == "STOP":
                return self._pop()
            if count == MOST_INSTRUCTIONS:
                raise self._refused("holds a pickle that is too long for a checkpoint")
            self._step(opcode.name, argument)
        raise ValueError("its pickle has no end")

    def _step(self, instruction: str, argument: object) -> None:
        if instruction in _LITERALS:
            self._stack.append(argument)
        elif instruction in _CONSTANTS:
            self._stack.append(_CONSTANTS[instruction]())
        elif instruction in self._instructions:
            self._instructions[instruction](argument)
        elif instruction not in _IGNORED:
            raise self._refused(
                f"holds a pickle with the instruction {instruction}, which no checkpoint needs"
            )

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:  # noqa: ANN401 - whatever the pickle put there
        return self._stack.pop()

    def _mark(self, _: object) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        values = self._stack
        self._stack = self._below.pop()
        return values

    def _keep(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _recall(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _discard(self, _: object) -> None:
        self._pop()

    def _drop(self, size: int) -> list[Any]:
        if len(self._stack) < size:
            raise ValueError("its pickle takes more values than it gave")
        values = self._stack[-size:]
        del self._stack[-size:]
        return values

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError("its pickle appends to what is no list")
        self._stack[-1].extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        entries = target.entries if isinstance(target, Record) else target
        if not isinstance(entries, dict) or len(values) % 2:
            raise ValueError("its pickle sets entries of what is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not _is_key(key):
                raise self._refused("holds a dict whose keys are neither texts nor numbers")
            entries[key] = value

    def _name(self, path: str) -> None:
        if path not in self._allowed:
            shown = path[:80].encode("ascii", "replace").decode()
            raise self._refused(f"asks for '{shown}', which could run code and is not part of a checkpoint")
        self._stack.append(Name(path))

    def _call(self, _: object) -> None:
        arguments, maker = self._pop(), self._pop()
        if not isinstance(maker, Name) or not isinstance(arguments, tuple):
            raise self._refused("holds a pickle that calls what is no function")
        self._stack.append(Record(maker.path, arguments))

    def _build(self, _: object) -> None:
        state = self._pop()
        if not isinstance(self._stack[-1], Record):
            raise self._refused("holds a pickle that sets attributes of plain values")
        self._stack[-1].state = state

    def _refer(self, _: object) -> None:
        self.references.append(Reference(self._pop()))
        self._stack.append(self.references[-1])

    def _refused(self, reason: str) -> UnsupportedSceneError:
        return UnsupportedSceneError(f"'{self._path.name}' {reason}. Nothing of it was run.")
