"""Stand-in for the wire protocol in a checkout; the extension zip carries the real file in its place.

It becomes `backend/scene_codec/service/protocol.py` itself, so that the protocol is written down once.
"""

import importlib.util
import sys
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[1] / "backend" / "scene_codec" / "service" / "protocol.py"
_spec = importlib.util.spec_from_file_location(__name__, _SOURCE)
if _spec is None or _spec.loader is None:
    raise ImportError(f"Cannot load the protocol from {_SOURCE}. Build the extension with build_addon.py.")
_module = importlib.util.module_from_spec(_spec)
sys.modules[__name__] = _module
_spec.loader.exec_module(_module)
