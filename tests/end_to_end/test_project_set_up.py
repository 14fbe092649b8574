"""The project as a newcomer finds it: versions agree, pins fit, the README's commands are there."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
PIN_FILES = ("requirements.txt", "requirements-dev.txt")


def pins():
    """Return every pinned package and its version."""
    lines = [
        line.partition("#")[0].strip()
        for name in PIN_FILES
        for line in (CHECKOUT / "scripts" / name).read_text(encoding="utf-8").splitlines()
    ]
    return {canonical(item.name): item for item in map(Requirement, filter(None, lines))}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def declared():
    """Return what the package's metadata asks for, in all its groups."""
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    groups = PROJECT["dependency-groups"].values()
    return [Requirement(text) for group in (project["dependencies"], *extras, *groups) for text in group]


def test_package_manifest_and_metadata_carry_one_version():
    version = PROJECT["project"]["version"]
    manifest = tomllib.loads(
        (CHECKOUT / "blender_addon" / "blender_manifest.toml").read_text(encoding="utf-8")
    )
    assert manifest["version"] == version
    assert importlib.metadata.version("scene-codec") == version


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_every_declared_package_is_pinned_within_its_range(requirement):
    pin = pins()[canonical(requirement.name)]
    (only,) = pin.specifier
    assert only.operator == "=="
    assert requirement.specifier.contains(only.version)


def test_every_pin_is_exact():
    for pin in pins().values():
        assert [part.operator for part in pin.specifier] == ["=="], str(pin)


@pytest.mark.parametrize("script", ["scripts/demo.py", "scripts/test.py"])
def test_the_set_up_commands_of_the_readme_start_on_a_bare_python(script, tmp_path):
    assert f"python3 {script}" in README
    # -I -S: without site-packages, so that nothing but the standard library is there.
    result = subprocess.run(
        [sys.executable, "-S", str(CHECKOUT / script), "--help"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "usage" in result.stdout


def test_every_file_that_the_documents_link_to_is_there():
    for document in (CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md")):
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_command_line_of_the_readme_parses():
    from scene_codec.cli.main import COMMANDS

    lines = re.findall(r"^scene-codec (\S+)", README, flags=re.MULTILINE)
    assert lines
    assert set(lines) <= set(COMMANDS)


def test_continuous_integration_calls_the_test_command_with_three_blenders():
    text = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")
    assert "scripts/test.py --blender 4.2,4.5,5.0" in text
    assert "set -euo pipefail" in text


def test_no_file_is_committed_that_is_larger_than_the_models():
    result = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        pytest.skip("git does not know this checkout")
    sizes = {
        name: path.stat().st_size
        for name in result.stdout.splitlines()
        if (path := CHECKOUT / name).is_file()
    }
    assert sizes
    assert {name: size for name, size in sizes.items() if size > 2_000_000} == {}


def test_no_path_of_a_developers_machine_is_committed():
    result = subprocess.run(
        ["git", "ls-files", "docs/results"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        pytest.skip("git does not know this checkout")
    for name in result.stdout.split():
        text = (CHECKOUT / name).read_text(encoding="utf-8")
        assert not re.search(r'"[^"]*(/home/|/root/|/tmp/|/Users/|[A-Z]:\\\\)', text), name
