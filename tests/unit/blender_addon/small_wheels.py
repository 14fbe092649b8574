"""Makes tiny wheels, so that an environment can be installed for real without a network and in seconds."""

import zipfile
from pathlib import Path

SERVICE = """
import json, os, sys, time
manner = {manner!r}
if manner == "crashes":
    sys.exit("the backend is broken")
for line in sys.stdin:
    message = json.loads(line)
    if manner == "hangs":
        open(os.path.join(os.path.dirname(sys.argv[-1]), "hanging"), "w").close()
        time.sleep(600)
    import needed_package
    result = {{"protocol": message["params"].get("protocol"), "version": "{version}", "codecs": [],
              "python": sys.version.split()[0], "torch": needed_package.VERSION, "devices": []}}
    print(json.dumps({{"jsonrpc": "2.0", "id": message["id"], "result": result}}), flush=True)
    if message["method"] == "shutdown":
        break
"""


def write_wheel(folder, name, version, files, requires=()):
    """Write a pure wheel and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {item}\n" for item in requires)
    members = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**members, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(member), text)
    return path


def write_backend_wheel(folder, version="0.1.0", manner="works"):
    """Write what the extension carries: the backend's wheel, in place of any other, and the pins."""
    for old in Path(folder).glob("*.whl"):
        old.unlink()
    service = SERVICE.format(manner=manner, version=version)
    files = {
        "scene_codec/__init__.py": "",
        "scene_codec/service/__init__.py": "",
        "scene_codec/service/__main__.py": service,
    }
    write_wheel(folder, "scene_codec", version, files, requires=["needed_package>=1"])
    (folder / "requirements.txt").write_text("# pins\nneeded_package==1.0\nunrelated==9.0\n")


def write_offline_wheels(folder):
    """Write the folder of wheels that stands for the network: two versions of what the backend needs."""
    for version in ("1.0", "2.0"):
        write_wheel(folder, "needed_package", version, {"needed_package.py": f"VERSION = {version!r}\n"})
