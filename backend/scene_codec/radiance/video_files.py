"""Films of renderings: H.264 in an MP4 file, written through PyAV."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from scene_codec.bitstream.atomic_file import open_atomically
from scene_codec.errors import InvalidRequestError, MissingDependencyError, SceneCodecError
from scene_codec.radiance.image_files import eight_bit

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

MAX_SIDE = 8192
MAX_FPS = 1000.0
QUALITY = "18"
"""Constant rate factor of x264: hardly to be told from the original."""

_BT709, _LIMITED_RANGE = 1, 1


class VideoWriter:
    """Writes pictures into an .mp4 file; for use as a context manager.

    The film takes the place of `path` in one step when the block ends; after an error in the block nothing is
    left, and what was there before is unchanged. Players want even sizes: a last column or row is repeated
    where one is missing. Colours are those of BT.709.
    """

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        """Take the size of the pictures and how many are shown in a second.

        Raises `MissingDependencyError` without PyAV, `InvalidRequestError` for a suffix, size or rate that
        cannot be.
        """
        if importlib.util.find_spec("av") is None:
            raise MissingDependencyError("Films are written with PyAV.", extra="video")
        if path.suffix.lower() != ".mp4":
            raise InvalidRequestError(f"A film must be called .mp4, not '{path.name}'.")
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise InvalidRequestError(
                f"A film cannot have {width} x {height} pixels; 1 to {MAX_SIDE} are allowed along each side."
            )
        if not 0.0 < fps <= MAX_FPS:
            raise InvalidRequestError(
                f"A film cannot show {fps} pictures a second; up to {MAX_FPS:g} will do."
            )
        self._path = path
        self._width, self._height = width, height
        self._rate = max(Fraction(fps).limit_denominator(1001), Fraction(1, 1001))
        self._frames = 0
        self._cleanup = ExitStack()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def __enter__(self) -> Self:
        import av  # an extra, and half a second to import

        with ExitStack() as stack:
            stack.enter_context(_translated(self._path))
            file = stack.enter_context(open_atomically(self._path))
            container = av.open(file, "w", format="mp4")
            stack.callback(container.close)
            stream = container.add_stream("libx264", rate=self._rate, options={"crf": QUALITY})
            stream.width, stream.height = self._width + self._width % 2, self._height + self._height % 2
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE
            self._container, self._stream = container, stream
            stack.push(self._finish)
            self._cleanup = stack.pop_all()
        return self

    def add(self, rgb: NDArray[np.floating]) -> None:
        """Append a picture, (height, width, 3) in [0, 1]."""
        import av

        if rgb.shape != (self._height, self._width, 3):
            raise ValueError(f"a picture of {rgb.shape} in a film of {(self._height, self._width, 3)}")
        if self._container is None or self._stream is None:
            raise ValueError("pictures are added within the block of the writer")
        even = ((0, self._height % 2), (0, self._width % 2), (0, 0))
        with _translated(self._path):
            picture = av.VideoFrame.from_ndarray(np.pad(eight_bit(rgb), even, mode="edge"), format="rgb24")
            frame = picture.reformat(format="yuv420p", dst_colorspace=_BT709)
            frame.pts, frame.time_base = self._frames, 1 / self._rate
            self._container.mux(self._stream.encode(frame))
        self._frames += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cleanup.__exit__(kind, error, trace)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what the encoder still holds, unless the block has failed."""
        if kind is not None or self._container is None or self._stream is None:
            return
        if self._frames == 0:
            raise InvalidRequestError(f"{self._path} was not written: the film has no picture.")
        self._container.mux(self._stream.encode(None))


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn PyAV's errors into ours."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise SceneCodecError(f"The film {path} could not be written: {error}") from error
