"""The picture of rate-distortion curves: of whatever codecs there are, and never of old figures."""

import json

import numpy as np
import pytest
from PIL import Image

import draw_rate_curves
from volume_rate_tables import ANCHOR, OURS

pytest.importorskip("matplotlib")

CODECS = (OURS, ANCHOR, *(f"rival {number}" for number in range(12)), f"{OURS}, lossless")


def figures(path, codecs=CODECS, volumes=5, seed=0):
    """Write made-up figures of some volumes and codecs."""
    generator = np.random.default_rng(seed)
    points = {
        f"volume {volume}": [
            {
                "codec": codec,
                "psnr": None if "lossless" in codec else float(psnr),
                "bytes": int(generator.uniform(500, 600) * 1.2 ** (psnr - 35)),
                "voxels": 10_000 * 10**volume,
            }
            for codec in codecs
            for psnr in (35, 40, 45, 50)
        ]
        for volume in range(volumes)
    }
    path.write_text(json.dumps({"points": points}), encoding="utf-8")
    return path


def test_all_codecs_with_a_curve_are_drawn_each_in_its_own_way(tmp_path):
    curves = draw_rate_curves.curves_of(draw_rate_curves.points_in(figures(tmp_path / "a.json")))
    styles = draw_rate_curves.styles_of(curves)
    assert list(styles) == list(CODECS[:-1])
    looks = {(style["color"], style["marker"], style.get("linestyle")) for style in styles.values()}
    assert len(looks) == len(styles)
    assert styles[OURS]["linewidth"] > 1.5 * styles[ANCHOR]["linewidth"]


@pytest.mark.parametrize("volumes", [1, 5])
def test_the_same_figures_give_the_same_small_picture(tmp_path, volumes):
    source = figures(tmp_path / "a.json", volumes=volumes)
    for name in ("one.png", "two.png"):
        draw_rate_curves.write_picture(source, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").stat().st_size < 300_000
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width > 250 * min(volumes, 4)


def test_a_picture_is_drawn_again_when_its_figures_have_changed_and_only_then(tmp_path):
    source, picture = figures(tmp_path / "a.json", CODECS[:2], 1), tmp_path / "a.png"
    assert not draw_rate_curves.is_current(source, picture)
    draw_rate_curves.refresh(source, picture)
    assert draw_rate_curves.is_current(source, picture)
    before = picture.stat().st_mtime_ns
    draw_rate_curves.refresh(source, picture)
    assert picture.stat().st_mtime_ns == before
    figures(source, CODECS[:2], 1, seed=1)
    assert not draw_rate_curves.is_current(source, picture)


def test_a_codec_without_two_points_has_no_curve(tmp_path):
    path = figures(tmp_path / "a.json", CODECS[:2], 1)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["points"]["volume 0"] = content["points"]["volume 0"][:5]
    path.write_text(json.dumps(content), encoding="utf-8")
    curves = draw_rate_curves.curves_of(draw_rate_curves.points_in(path))
    assert list(curves["volume 0"]) == [OURS]
