"""Lets `python -m scene_codec` do what the `scene-codec` command does."""

import sys

from scene_codec.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
