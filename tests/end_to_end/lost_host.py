"""A host that starts the service and a job, writes both process ids to a file, and waits to be killed."""

import sys
import time
import types
from pathlib import Path

addon, service, log, method, marker, pids = sys.argv[1:]
package = types.ModuleType("scene_codec_addon")
package.__path__ = [addon]
sys.modules["scene_codec_addon"] = package

from scene_codec_addon.backend_client import BackendClient  # noqa: E402 - after the package exists

client = BackendClient.start([sys.executable, "-u", service, "--log", log], Path(log), "0.1.0")
client.wait_until_ready(60)
client.submit(method, {"marker": marker})
while not (Path(marker).exists() and Path(marker).read_text()):
    time.sleep(0.01)
Path(f"{pids}.tmp").write_text(f"{client.pid} {Path(marker).read_text()}")
Path(f"{pids}.tmp").replace(pids)
while True:
    time.sleep(1)
