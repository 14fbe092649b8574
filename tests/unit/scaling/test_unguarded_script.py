"""A plain script may call the library without `if __name__ == "__main__"`."""

import subprocess
import sys

SCRIPT = """
from scene_codec.scaling.pool import open_pool

print("script runs")
with open_pool("processes:2") as pool:
    lengths = [outcome.result for outcome in pool.map_unordered(len, ["a", "bc"])]
assert sorted(lengths) == [1, 2], lengths
"""


def test_a_script_without_a_main_guard_runs_once(tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("script runs") == 1
