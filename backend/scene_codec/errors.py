"""Every error a user can meet, in one tree.

A message says what was wrong, where, and what to do about it. Errors of third-party libraries are translated
at the one module that imports the library; nothing else leaves the public API.
"""

from __future__ import annotations


class SceneCodecError(Exception):
    """Base of all errors that are meant for the user."""

    code = "error"
    """Stable word for scripts and for the service protocol; subclasses override it."""


class CorruptFileError(SceneCodecError):
    """The file is damaged, truncated or not a `.nscene` file."""

    code = "corrupt-file"


class UnsupportedVersionError(SceneCodecError):
    """The file was written by a newer format version or an unknown codec."""

    code = "unsupported-version"


class UnsupportedSceneError(SceneCodecError):
    """The input cannot be represented by the codec; the message names the object and the reason."""

    code = "unsupported-scene"


class InvalidRequestError(SceneCodecError):
    """A setting, an argument or a message is wrong; the message says which and what is allowed."""

    code = "invalid-request"


class MissingDependencyError(SceneCodecError):
    """An optional package is needed; `extra` names the extra that installs it."""

    code = "missing-dependency"

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(f"{message} Install it with: pip install 'scene-codec[{extra}]'")
        self.extra = extra


class Cancelled(SceneCodecError):  # noqa: N818 - a state the user asked for, not a failure
    """The user cancelled the job; nothing was written."""

    code = "cancelled"
