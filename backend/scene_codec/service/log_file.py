"""The service's log: one file that the user can open, kept short by rotation."""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

import platformdirs

MAX_LOG_BYTES = 1_000_000
OLD_LOGS = 2


def default_log_path() -> Path:
    """Return the place of the log when nobody chose one."""
    return platformdirs.user_log_path("scene_codec", appauthor=False) / "backend.log"


def open_log(path: Path) -> None:
    """Send everything that is logged in this process to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=MAX_LOG_BYTES, backupCount=OLD_LOGS, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
