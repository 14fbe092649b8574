"""What a zip archive says that it holds, read without torch and with little memory."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

ZIP_START = b"PK\x03\x04"

LEGACY_START = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
"""The first pickle of the files that torch.save wrote before 2020: a magic number."""

PICKLE_MEMBER = "data.pkl"
"""The pickle in an archive of torch.save."""

_LARGEST_DIRECTORY = 1024 * 1024


def zip_names(path: Path) -> list[str]:
    """Return the names in a zip archive; raises ValueError when there are too many for a checkpoint."""
    with _BoundedFile(path) as file, zipfile.ZipFile(file) as archive:
        return archive.namelist()


class _BoundedFile(io.FileIO):
    """A file of which little is read at once: the names in an archive take more memory than their bytes."""

    def read(self, size: int | None = -1) -> bytes:
        most = _LARGEST_DIRECTORY + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        if len(data) == most:
            raise ValueError("it names more files than a checkpoint needs")
        return data
