"""Starts the real service with the methods of `tiny_methods`."""

import os
import sys
from pathlib import Path

folder = str(Path(__file__).parent)
sys.path.insert(0, folder)
os.environ["PYTHONPATH"] = folder  # for the workers

from scene_codec.service.__main__ import main  # noqa: E402 - after the path is set

main(sys.argv[1:], methods_module="tiny_methods")
