"""Bounds of the container, checked before anything is allocated. They belong to the container version."""

from __future__ import annotations

MAX_HEADER_BYTES = 32 * 1024 * 1024
"""Largest header, before and after it is inflated."""

MAX_OBJECTS = 1 << 18
MAX_SECTIONS = 1 << 20
"""Most sections in a file, all objects together."""

MAX_SECTIONS_PER_TABLE = 64
"""Most sections of one object, and most shared sections."""

MAX_KIND = 0xFFFF
MAX_NAME_BYTES = 4096
MAX_HOST_BYTES = 64 * 1024
MAX_CODEC_NAME_BYTES = 64
MAX_PAYLOAD_VERSION = 0xFFFF
MAX_SECTION_BYTES = 1 << 48
