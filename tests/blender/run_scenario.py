"""Runs one scenario in this Blender: `run_scenario.py MODULE FUNCTION FOLDER`.

Whatever stays registered when the interpreter exits hangs Blender 4.5 and crashes 4.2, so the add-on is
disabled and the process ends with `os._exit`.
"""

import importlib
import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main() -> int:
    """Return 0 when the scenario passed."""
    module, scenario, folder = sys.argv[1:4]
    import bpy  # noqa: F401 - before all else: it makes Blender's own modules importable
    from scenarios.laboratory import Laboratory

    laboratory = Laboratory(Path(folder))
    try:
        function = getattr(importlib.import_module(f"scenarios.{module}"), scenario)
        if module != "installation":
            laboratory.enable_addon()
        function(laboratory)
        laboratory.disable_addon()
    except BaseException:
        traceback.print_exc()
        laboratory.kill_backend()
        return 1
    sys.stdout.write("SCENARIO PASSED\n")
    return 0


status = main()
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)
