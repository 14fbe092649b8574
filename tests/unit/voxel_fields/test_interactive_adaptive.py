"""Sizes of pictures in time, with a clock of the tests: what is rendered when, and how it is enlarged."""

import dataclasses

import numpy as np
import pytest
from made_fields import DOMAIN

from scene_codec.errors import Cancelled
from scene_codec.progress import Progress
from scene_codec.radiance.camera_paths import camera_path
from scene_codec.voxel_fields.adaptive_rendering import AdaptivePlan, AdaptiveRenderer, enlarged
from scene_codec.voxel_fields.interactive import RgbaPicture

FULL = (400, 300)


class Machine:
    """Pictures that take as long as their rays do on a machine of a given speed."""

    def __init__(self, speed):
        self.speed, self.now, self.sizes, self.broken = speed, 0.0, [], False

    def picture(self, camera, progress=None):
        self.now += camera.width * camera.height / self.speed
        if self.broken:
            raise Cancelled("stopped")
        self.sizes.append((camera.width, camera.height))
        rgba = np.full((camera.height, camera.width, 4), 0.5, np.float32)
        return RgbaPicture(rgba, np.full((camera.height, camera.width), 2.0, np.float32))

    def clock(self):
        return self.now


def views():
    return [dataclasses.replace(camera) for camera in camera_path(DOMAIN, 30, 30.0, FULL)]


def renderer(machine, **plan):
    return AdaptiveRenderer(machine, AdaptivePlan(**plan), machine.clock)


@pytest.mark.parametrize("speed", [3e4, 3e5, 1e6])
def test_pictures_of_a_moving_view_take_the_time_that_there_is(speed):
    machine = Machine(speed)
    own = renderer(machine, seconds=0.05)
    for camera in views()[:10]:
        before = machine.now
        own.next_picture(camera)
    assert machine.now - before == pytest.approx(0.05, rel=0.3)
    assert own.rays_per_second == pytest.approx(speed, rel=0.02)


def test_a_fast_machine_renders_all_at_once_and_a_slow_one_not_less_than_the_least():
    fast, slow = Machine(1e9), Machine(10.0)
    for machine in (fast, slow):
        own = renderer(machine, least_pixels=24)
        for camera in views()[:6]:
            last = own.next_picture(camera)
        assert last.whole == (machine is fast)
    assert fast.sizes[-1] == FULL
    assert slow.sizes[-1] == (32, 24)


def test_sizes_stay_while_the_speed_changes_little():
    machine = Machine(2e5)
    own = renderer(machine)
    cameras = views()
    for camera in cameras[:8]:
        own.next_picture(camera)
    steady = machine.sizes[-1]
    for camera, speed in zip(cameras[8:16], (2.2e5, 1.8e5) * 4, strict=True):
        machine.speed = speed
        own.next_picture(camera)
    assert set(machine.sizes[8:]) == {steady}
    machine.speed = 8e5
    for camera in cameras[16:26]:
        own.next_picture(camera)
    assert machine.sizes[-1][0] > 1.6 * steady[0]


def test_a_view_at_rest_becomes_finer_until_it_is_whole():
    machine = Machine(4e4)
    own = renderer(machine)
    camera = views()[0]
    pictures = []
    while (picture := own.next_picture(camera)) is not None:
        pictures.append(picture)
    widths = [picture.rendered[0] for picture in pictures]
    assert widths == sorted(set(widths))
    assert pictures[-1].whole
    assert machine.sizes[-1] == FULL
    assert not any(picture.whole for picture in pictures[:-1])
    assert all(picture.picture.rgba.shape == (300, 400, 4) for picture in pictures)
    assert own.next_picture(dataclasses.replace(camera)) is None
    own.forget()
    assert own.next_picture(camera) is not None


def test_a_cancelled_picture_is_asked_for_again():
    machine = Machine(4e4)
    own = renderer(machine)
    camera = views()[0]
    first = own.next_picture(camera)
    machine.broken = True
    with pytest.raises(Cancelled):
        own.next_picture(camera, Progress())
    machine.broken = False
    assert own.next_picture(camera).rendered[0] > first.rendered[0]
    assert len(machine.sizes) == 2


def test_the_same_calls_give_the_same_sizes():
    runs = []
    for _ in range(2):
        machine = Machine(1.3e5)
        own = renderer(machine)
        for camera in views()[:5]:
            own.next_picture(camera)
            own.next_picture(camera)
        runs.append(machine.sizes)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_depths_are_never_mixed_when_a_picture_is_enlarged(mode):
    depth = np.array([[0.0, 2.0], [5.0, 9.0]], np.float32)
    rgba = np.repeat(depth[..., None] / 9.0, 4, axis=2)
    large = enlarged(RgbaPicture(rgba, depth), (7, 5), mode)
    assert large.rgba.shape == (5, 7, 4)
    assert set(np.unique(large.depth)) == {0.0, 2.0, 5.0, 9.0}
    assert (len(np.unique(large.rgba)) > 4) == (mode == "bilinear")
    assert large.rgba.max() <= 1.0
