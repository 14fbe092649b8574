"""What goes into a file: sections of bytes, named objects, and the codec they belong to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """Bytes that the codec named in the file understands.

    kind : the codec's own number for this sort of payload, 0 to 65535; never renumbered
    required : a reader that does not know the kind must refuse the file; otherwise it skips the section
    """

    kind: int
    payload: bytes
    required: bool = True


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One named object of a file.

    name : not empty, at most 4096 bytes of UTF-8, unique in the file
    sections : each kind at most once; empty when `instance_of` is given
    transform : 16 finite numbers, row major, object to world, last row 0 0 0 1; None is the identity
    host : opaque bytes for the host application, at most 64 KiB
    instance_of : index in the file of an earlier object whose sections this one shares; that one is no
        instance itself
    """

    name: str
    sections: tuple[Section, ...] = ()
    transform: tuple[float, ...] | None = None
    host: bytes = b""
    instance_of: int | None = None


@dataclass(frozen=True, slots=True)
class SceneContent:
    """Everything a file holds.

    codec : name of the codec, lower-case letters, digits and hyphens
    payload_version : version of that codec's own payload, 0 to 65535
    shared : sections that belong to all objects, each kind at most once
    """

    codec: str
    payload_version: int
    shared: tuple[Section, ...] = ()
    objects: tuple[ObjectRecord, ...] = ()
