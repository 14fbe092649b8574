"""The container: named objects and sections of bytes in one file.

Specified in docs/FORMAT.md; needs no torch.
"""

from scene_codec.bitstream.accounting import ByteAccount, account_bytes
from scene_codec.bitstream.atomic_file import write_atomically
from scene_codec.bitstream.preamble import MAGIC
from scene_codec.bitstream.reader import (
    ObjectEntry,
    SceneFile,
    SectionEntry,
    begins_scene_file,
    open_scene_file,
)
from scene_codec.bitstream.records import ObjectRecord, SceneContent, Section
from scene_codec.bitstream.writer import append_objects, file_size, serialise, write_scene_file

__all__ = [
    "MAGIC",
    "ByteAccount",
    "ObjectEntry",
    "ObjectRecord",
    "SceneContent",
    "SceneFile",
    "Section",
    "SectionEntry",
    "account_bytes",
    "append_objects",
    "begins_scene_file",
    "file_size",
    "open_scene_file",
    "serialise",
    "write_atomically",
    "write_scene_file",
]
