"""`python -m scene_codec.service [--log PATH]` starts the service on stdin and stdout."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from scene_codec.service.channel import take_standard_streams
from scene_codec.service.log_file import default_log_path, open_log
from scene_codec.service.server import Server

SCENE_METHODS = "scene_codec.service.scene_methods"


def main(arguments: Sequence[str] | None = None, methods_module: str = SCENE_METHODS) -> None:
    """Run the service with the methods of a module until the host closes the channel."""
    parser = argparse.ArgumentParser(
        prog="scene_codec.service", description="The backend of the Blender add-on."
    )
    parser.add_argument("--log", type=Path, default=None, help="log file (default: in the user's log folder)")
    options = parser.parse_args(arguments)
    log_path = (options.log or default_log_path()).absolute()
    requests, writer = take_standard_streams()
    faulthandler.enable()
    open_log(log_path)
    logging.getLogger(__name__).info("service started, process %d", os.getpid())
    try:
        Server(requests, writer, methods_module, log_path).run()
        logging.getLogger(__name__).info("service ended")
    except BaseException:
        logging.getLogger(__name__).exception("the service failed")
        raise
    finally:
        logging.shutdown()
    # The reading thread may still wait for stdin, and the interpreter would wait for it.
    os._exit(0)


if __name__ == "__main__":
    main()
