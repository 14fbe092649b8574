"""Trained radiance fields of the public NeRF implementations.

Three layouts are read: the weights of Keras of the original implementation (bmild/nerf, two .npy files), and
the files of two ports to torch (yenchenlin/nerf-pytorch, .tar; krrish94/nerf-pytorch, .ckpt). All are
pickles; they are read as data, and nothing in them is run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal

from scene_codec.errors import InvalidRequestError, SceneCodecError, UnsupportedSceneError
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.radiance.archive_names import LEGACY_START, PICKLE_MEMBER, ZIP_START, zip_names
from scene_codec.radiance.damaged_files import damaged_file
from scene_codec.radiance.keras_checkpoint import holds_objects, load_keras_network
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.radiance.stored_layers import EXPECTED_LAYOUTS, LARGEST_FILE, StoredPair, unexpected
from scene_codec.radiance.torch_checkpoint import load_torch_pair

Layout = Literal["bmild", "yenchenlin", "krrish94"]

_NPY_START = b"\x93NUMPY"
_KERAS_NAME = re.compile(r"(?P<start>.*?)(?P<fine>fine_)?(?P<step>\d{1,15})\.npy", re.IGNORECASE)
_LONGEST_START = 16 * 1024
"""Bytes within which the header of a .npy file of objects ends."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NerfPair:
    """The networks of a trained radiance field.

    coarse : what the samples along a ray are placed by; None when there is one network only
    fine : what is seen
    layout : whose files they are
    step : training step, 0 when the file does not tell
    source_bytes : size of the files
    parameter_bytes : 4 for each parameter of both networks as they are stored
    learning_rate : the optimiser's at that step; None when the file does not tell
    domain : the space that it was trained in; told by files of our own training alone
    """

    coarse: RadianceMlp | None
    fine: RadianceMlp
    layout: Layout
    step: int
    source_bytes: int
    parameter_bytes: int
    learning_rate: float | None
    domain: SceneDomain | None = None


def load_checkpoint(paths: Sequence[Path]) -> NerfPair:
    """Return the networks in one file, or in the two files of bmild's layout in any order.

    Of model_NNNNNN.npy and model_fine_NNNNNN.npy one is enough when the other lies beside it. A network that
    is alone is the fine one. The networks are float32, in evaluation mode and without gradients.

    Raises `UnsupportedSceneError` naming the file and the reason.
    """
    files = [Path(path) for path in paths]
    if len(files) not in (1, 2):
        raise InvalidRequestError(f"A trained NeRF is one file or two, and {len(files)} were given.")
    try:
        if {_start_of(file) for file in files} == {_NPY_START}:
            return _load_keras(_both_files(files[0]) if len(files) == 1 else files)
        if len(files) == 2:
            raise unexpected(files[1], f"does not belong to '{files[0].name}': only .npy files come in pairs")
        layout, pair = load_torch_pair(files[0])
        return _nerf_pair(layout, pair, files)
    except SceneCodecError:
        raise
    except Exception as error:  # damaged pickles and archives raise a dozen types
        raise _unreadable(files, error) from error


def looks_like_checkpoint(path: Path) -> bool:
    """Tell by its beginning, or the names in its archive, whether a file may be a trained NeRF.

    Nothing is loaded. A .npy file of numbers is none. Other files of `torch.save` look the same;
    `load_checkpoint` refuses them.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(_LONGEST_START)
        if start.startswith(_NPY_START):
            return holds_objects(BytesIO(start))
        if start.startswith(ZIP_START):
            return any(PurePosixPath(name).name == PICKLE_MEMBER for name in zip_names(path))
        return start.startswith(LEGACY_START)
    except Exception:  # a missing or damaged file is no checkpoint
        return False


def _load_keras(files: list[Path]) -> NerfPair:
    """Return the networks of one or two .npy files, which their names tell apart."""
    if len(files) == 2 and _is_fine(files[0]) == _is_fine(files[1]):
        raise UnsupportedSceneError(
            f"Which of '{files[0].name}' and '{files[1].name}' is the fine network cannot be told: one of "
            "the names must hold the word 'fine', as model_fine_200000.npy."
        )
    networks = [load_keras_network(file) for file in sorted(files, key=_is_fine)]
    matches = [_KERAS_NAME.fullmatch(file.name) for file in files]
    pair = StoredPair(
        coarse=networks[0] if len(networks) == 2 else None,
        fine=networks[-1],
        step=max((int(match["step"]) for match in matches if match), default=0),
    )
    return _nerf_pair("bmild", pair, files)


def _is_fine(file: Path) -> bool:
    """Tell by its name whether a .npy file holds the fine network."""
    match = _KERAS_NAME.fullmatch(file.name)
    return match["fine"] is not None if match else "fine" in file.stem.lower()


def _both_files(file: Path) -> list[Path]:
    """Return a .npy file and the other network's when it lies beside it."""
    match = _KERAS_NAME.fullmatch(file.name)
    if match is None:
        return [file]
    other = file.with_name(match["start"] + ("" if match["fine"] else "fine_") + match["step"] + file.suffix)
    if not other.is_file():
        return [file]
    _start_of(other)
    return [file, other]


def _nerf_pair(layout: Layout, pair: StoredPair, files: list[Path]) -> NerfPair:
    networks = [network for network in (pair.coarse, pair.fine) if network is not None]
    return NerfPair(
        coarse=pair.coarse,
        fine=pair.fine,
        layout=layout,
        step=pair.step,
        source_bytes=sum(file.stat().st_size for file in files),
        parameter_bytes=4 * sum(network.shape.parameters for network in networks),
        learning_rate=pair.learning_rate,
        domain=pair.domain,
    )


def _start_of(file: Path) -> bytes:
    """Return the first bytes of a file of a possible size."""
    if not file.is_file():
        raise UnsupportedSceneError(f"There is no file '{file}'.")
    size = file.stat().st_size
    if size == 0:
        raise UnsupportedSceneError(f"'{file.name}' is empty. {EXPECTED_LAYOUTS}")
    if size > LARGEST_FILE:
        raise unexpected(file, f"has {size} bytes; a checkpoint has at most {LARGEST_FILE}")
    with file.open("rb") as stream:
        return stream.read(len(_NPY_START))


def _unreadable(files: list[Path], error: Exception) -> UnsupportedSceneError:
    names = " or ".join(f"'{file.name}'" for file in files)
    return damaged_file(names, error, EXPECTED_LAYOUTS)
