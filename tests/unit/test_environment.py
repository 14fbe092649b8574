"""What the backend tells about its surroundings, and what it advises."""

import importlib.metadata
import subprocess
import sys
from types import SimpleNamespace

import pytest

from scene_codec import environment


def fake_torch(*, available, built_for="13.0", architectures=("sm_90",), capability=(9, 0)):
    cuda = SimpleNamespace(
        is_available=lambda: available,
        device_count=lambda: int(available),
        get_arch_list=lambda: list(architectures),
        get_device_capability=lambda index: capability,
        get_device_name=lambda index: "Test Card",
        get_device_properties=lambda index: SimpleNamespace(name="Test Card", total_memory=8),
    )
    return SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda=built_for))


@pytest.mark.parametrize(
    ("architectures", "capability", "supported"),
    [
        (["sm_80", "sm_90"], (9, 0), True),
        (["sm_80", "sm_90"], (8, 6), True),
        (["sm_86"], (8, 0), False),
        (["sm_80", "sm_90"], (12, 0), False),
        (["sm_80", "compute_90"], (12, 0), True),
        (["sm_90a"], (9, 0), True),
        (["sm_120"], (12, 0), True),
        ([], (9, 0), False),
    ],
)
def test_a_card_without_code_in_this_torch_is_named(architectures, capability, supported):
    torch = fake_torch(available=True, architectures=architectures, capability=capability)
    advice = environment.advice(torch)
    assert (advice == []) == supported
    assert all("Test Card" in text for text in advice)


def test_a_driver_without_a_fitting_torch_is_named(monkeypatch):
    monkeypatch.setattr(environment.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert "'cuda'" in environment.advice(fake_torch(available=False, built_for=None))[0]
    assert "driver" in environment.advice(fake_torch(available=False))[0]


def test_a_machine_without_a_card_needs_no_advice(monkeypatch):
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    assert environment.advice(fake_torch(available=False, built_for=None)) == []


def test_devices_carry_id_name_and_memory():
    assert environment.cuda_devices(fake_torch(available=True)) == [
        {"id": "cuda:0", "name": "Test Card", "memory_bytes": 8}
    ]
    assert environment.cuda_devices(fake_torch(available=False)) == []


def test_every_needed_package_is_listed_and_optional_ones_are_not():
    names = environment.required_packages()
    assert {"torch", "numpy", "msgspec"} <= set(names)
    assert "DracoPy" not in names
    assert all(environment.package_version(name) for name in names)
    assert environment.package_version("scene-codec") == importlib.metadata.version("scene-codec")
    assert environment.package_version("no such package") is None


def test_the_servers_process_starts_without_libraries_and_looks_into_files_without_torch(tmp_path):
    program = (
        "import sys, scene_codec.service.__main__\n"
        "from scene_codec import errors\n"
        "from scene_codec.service import scene_methods\n"
        "early = {'torch', 'scipy', 'trimesh', 'igl'} & set(sys.modules)\n"
        "assert not early, early\n"
        "try: scene_methods.inspect(scene_methods.InspectParams(file=sys.argv[1]))\n"
        "except errors.SceneCodecError: pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    file = tmp_path / "damaged.nscene"
    file.write_bytes(b"no scene")
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
