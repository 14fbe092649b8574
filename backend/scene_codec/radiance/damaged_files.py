"""What is said of a checkpoint that its reader broke off at."""

from __future__ import annotations

from scene_codec.errors import UnsupportedSceneError

_LONGEST_REASON = 200


def damaged_file(names: str, error: Exception, expected: str) -> UnsupportedSceneError:
    """Return the error for a file whose reader raised a plain exception.

    Readers here raise ValueError with a reason in words; all other exceptions are of the libraries that they
    use, and their texts tell nothing to whoever has the file.

    names : of the file, or of the files that it may be, in quotes
    expected : what is expected instead, a sentence or two
    """
    if isinstance(error, OSError) and error.strerror:
        return UnsupportedSceneError(f"{names} cannot be read: {error.strerror}.")
    reason = ""
    if type(error) is ValueError and str(error):
        shown = str(error)[:_LONGEST_REASON].encode("ascii", "replace").decode()
        reason = f": {shown.rstrip('.')}"
    return UnsupportedSceneError(f"{names} is cut off or damaged{reason}. Copy it again. {expected}")
