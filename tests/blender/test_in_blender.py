"""Every scenario in every Blender that was named, each in a process of its own."""

import ast
from pathlib import Path

import pytest

SCENARIOS = Path(__file__).with_name("scenarios")
NO_SCENARIOS = {"__init__", "laboratory", "volume_scenes"}


def scenarios() -> list[tuple[str, str]]:
    """Return module and name of each public function in `scenarios/`, read without importing bpy."""
    found = []
    for path in sorted(SCENARIOS.glob("*.py")):
        if path.stem not in NO_SCENARIOS:
            body = ast.parse(path.read_text("utf-8")).body
            names = [node.name for node in body if isinstance(node, ast.FunctionDef)]
            found.extend((path.stem, name) for name in names if not name.startswith("_"))
    return found


@pytest.mark.blender
@pytest.mark.parametrize(("module", "scenario"), scenarios())
def test_in_blender(blender, module, scenario, tmp_path):
    blender.run_scenario(module, scenario, tmp_path)
