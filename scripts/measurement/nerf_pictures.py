"""Pictures of pruned radiance fields at each ratio: a view, its depth, the surface of the density."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import scene_codec
from demonstration.picture import FADED, INK, PAPER
from demonstration.rasteriser import CLAY, Camera, render
from measurement.nerf_scenes import Scene, load_pair, published_domain, test_views
from scene_codec.bitstream import ObjectRecord, SceneContent, write_scene_file
from scene_codec.codecs.nerf_pruned.syntax import CodedField, write_field
from scene_codec.errors import UnsupportedSceneError
from scene_codec.radiance.density_surface import density_mesh
from scene_codec.radiance.field import RadianceField, render_view
from scene_codec.radiance.image_files import colour_of_depth
from scene_codec.radiance.nerf_field import NerfPairField
from scene_codec.radiance.radiance_object import RadianceObject

VIEW = 200
MESH_CELLS = 160
LABEL, HEADER, GAP = 110, 64, 6

Picture = NDArray[np.uint8]

NOTES = {
    "paper": [
        "Test views are two of each scene, one ray a pixel against area-averaged pictures, 100 x 100 "
        "(fern 84 x 63). PSNR and SSIM are means over them, MSE is of the fine network alone. The loss of"
        " a batch is what the published code logs beside its PSNR: squared error of coarse plus fine "
        "network on one random batch of training rays. The published MSE column fits that, and not its "
        "PSNR column.",
        "One threshold for all weights of both networks, biases spared, one shot; then 500 steps of "
        "96 rays (64 for fern; 1024 in the paper) with the mask fixed, fresh Adam, loss of "
        "both networks. These are the public 4x128 networks, not the 8x256 ones of the paper: their heads"
        " have the smallest weights, so that one threshold takes most of the heads first, and pictures "
        "turn grey.",
        "File bytes are the entropy-coded masks and weights of 16 bits of both networks; float32 takes "
        "676,384 (fern 651,808).",
    ],
    "ours": [
        "The same test views. {steps} steps of 1024 rays (fern 256) of the training pictures. File "
        "bytes are those of the whole .nscene file: network, occupied cells, space, header. The share "
        "that is pruned counts zeros among all weights of the folded fine network but those of its "
        "heads; occupied cells replace the coarse network.",
        "Retraining can make a network better than it was: the chair is retrained on 400 x 400 "
        "pictures, the size it was trained on; of lego only 200 x 200 ones are at hand, so that a part "
        "of its gain is that it gets to know averaged pictures. The paper's protocol retrains on the "
        "same pictures, with 500 steps of 96 rays of 192 samples: about as many network evaluations.",
        "CPU seconds of rendering are for the same two views as in the table above, all threads "
        "together, with the grid that is refined at the first view.",
    ],
    "curve": [
        "Points of one rate curve: the squared error that a kilobyte is worth varies, no share must be "
        "pruned, {steps} steps.",
    ],
    "variants": [
        "As above, one thing changed. Scores say which weights are pruned; in the other tables it is "
        "their size in quantisation steps. With fewer neurons, layers are narrower from the start.",
    ],
    "rivals": [
        "Networks rounded without training, a symmetric step for each tensor, biases in float32: what "
        "quantisation and a general coder alone give, with both networks, and with the fine one alone "
        "in the cells of our file.",
    ],
    "nncodec": [
        "NNCodec 2.1.3 codes each tensor by itself, weights with dependent quantisation, biases next to "
        "without loss; it needs an older NumPy and runs in an environment of its own.",
    ],
    "speed": [
        "One test view in one process. As published: on every ray 64 samples of the coarse network and "
        "192 of the fine one. In occupied cells: even steps, packed, from front to back, the finer grid "
        "of the first view included; 384 from near to far, in normalised device coordinates (fern) 192, "
        "which is the same spacing. The same fine network is the one that is rendered as published.",
    ],
    "large": [
        "One network of the published size, 8 layers of 256, trained by `train-nerf` (preset large) with "
        "6,000 steps of 4,096 samples on a processor (44 minutes), pictures 200 x 200, on which two test "
        "views are compared; 32 bits a weight before. The share that is pruned counts zeros, and weights "
        "of neurons that are gone, among all weights but those of the heads.",
        "With all neurons {steps} steps of retraining; with half of them, and 65 % of what is left pruned, "
        "half as many again in half of the time. Scores by gradient, rates 5e-4 and 1e-3. At 1.5e-3, which "
        "suits networks of 128, 800 steps end at 25.3 dB. Retraining goes on from the training pictures: "
        "this network had not learnt all that they tell, so that the smaller one can show more.",
    ],
    "pictures": [],
}
"""What stands under each table; measured by `nerf_runs`."""


def field_file(scene: Scene, label: str, folder: Path) -> Path:
    """Return where the file of one run is kept."""
    return folder / (re.sub(r"[^a-z0-9.]+", "_", f"{scene.name} {label}".lower()) + ".nscene")


def keep_field(field: CodedField, scene: Scene, label: str, folder: Path) -> None:
    """Write the file of one run."""
    record = ObjectRecord(scene.name, write_field(field))
    write_scene_file(field_file(scene, label, folder), SceneContent("nerf-pruned", 1, (), (record,)))


def kept_field(scene: Scene, label: str, folder: Path) -> RadianceField:
    """Return the field of one run, decoded from its file."""
    item = next(iter(scene_codec.decode(field_file(scene, label, folder), device="cpu")))
    assert isinstance(item, RadianceObject)
    return item.field


def keep_shapes(scene: Scene, data: Path, folder: Path, ratios: Sequence[float]) -> list[dict[str, Any]]:
    """Render one view, its depth and the surface of a scene at each ratio; keep them as arrays."""
    pair = load_pair(scene, data)
    before = NerfPairField(pair.coarse, pair.fine, published_domain(scene, data))
    fields: dict[str, RadianceField] = {"unpruned": before}
    fields |= {f"{share:.0%}": kept_field(scene, f"ours, {share:.0%}", folder) for share in ratios}
    box = fields[f"{ratios[0]:.0%}"].domain
    view = test_views(scene, data)[1].camera
    columns = {}
    camera = None
    for name, field in fields.items():
        seen = render_view(field, view.resized(VIEW, VIEW * view.height // view.width))
        surface = None
        if box.ndc is None:
            try:
                mesh = density_mesh(field, MESH_CELLS, low=box.low, high=box.high)
                camera = camera or Camera.around(mesh.vertices, azimuth=-50.0)
                surface = render(mesh.vertices, mesh.faces, camera, CLAY, size=VIEW)
            except UnsupportedSceneError:
                surface = None
        columns[name] = (seen, surface)
    limits = _depth_limits([seen.depth for seen, _ in columns.values()])
    for name, (seen, surface) in columns.items():
        depth = colour_of_depth(seen.depth, seen.opacity, limits)
        rows = [_bytes(seen.colour), _bytes(depth)]
        if surface is not None:
            rows.append(np.asarray(_on_white(surface)))
        np.savez_compressed(folder / f"picture_{scene.name}_{name}.npz", *rows)
    return [{"label": scene.name, "columns": list(columns)}]


def draw_sheet(folder: Path, file: Path) -> None:
    """Draw all kept views, depths and surfaces on one sheet."""
    names = ["unpruned", "30%", "50%", "70%", "90%"]
    scenes = sorted({path.stem.split("_")[1] for path in folder.glob("picture_*.npz")})
    rows: list[tuple[str, list[Picture]]] = []
    for scene in scenes:
        columns = [np.load(folder / f"picture_{scene}_{name}.npz") for name in names]
        kinds = ("view", "depth", "surface")[: len(columns[0].files)]
        rows += [
            (f"{scene}\n{kind}", [column[f"arr_{index}"] for column in columns])
            for index, kind in enumerate(kinds)
        ]
    height = HEADER + sum(row[0].shape[0] + GAP for _, row in rows)
    sheet = Image.new("RGB", (LABEL + len(names) * (VIEW + GAP), height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text(
        (12, 8), "Radiance networks pruned and coded: view, depth, surface", INK, ImageFont.load_default(20)
    )
    for column, name in enumerate(names):
        caption = name if name == "unpruned" else f"{name} pruned"
        pen.text((LABEL + column * (VIEW + GAP) + 6, 38), caption, FADED, ImageFont.load_default(16))
    top = HEADER
    for label, pictures in rows:
        pen.text((12, top + 20), label, INK, ImageFont.load_default(17))
        for column, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (LABEL + column * (VIEW + GAP), top))
        top += pictures[0].shape[0] + GAP
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def _depth_limits(depths: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """Return one range of colours for all depths: that of the first."""
    seen = depths[0][depths[0] > 0.0]
    return (float(np.quantile(seen, 0.02)), float(np.quantile(seen, 0.98))) if seen.size else (0.0, 1.0)


def _bytes(colour: NDArray[np.floating[Any]]) -> Picture:
    return np.rint(np.clip(colour, 0.0, 1.0) * 255.0).astype(np.uint8)


def _on_white(picture: Picture) -> Image.Image:
    """Return a picture with transparency in front of white."""
    image = Image.fromarray(picture)
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")
