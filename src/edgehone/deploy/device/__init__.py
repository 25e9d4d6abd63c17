"""The runtime that is copied into every bundle, and which of its files a bundle needs.

What lies beside this file runs on boards under Python 3.6 or later with numpy, OpenCV and the vendor's library
alone; edgehone uses it as it is, so that a bundle is verified by the code that it carries.
"""

from __future__ import annotations

from pathlib import Path

from edgehone.deploy.device.runtime.backends import MODULES
from edgehone.errors import UsageError

FOLDER = Path(__file__).parent
SCRIPTS = ("detect.py", "selftest.py", "measure.py")


def device_files(runtime: str) -> dict[str, bytes]:
    """The files of the device runtime for a bundle, path in the bundle to content.

    Args:
        runtime: ``onnxruntime``, ``openvino``, ``tensorrt`` or ``kneron``: only its backend is among them.

    Raises:
        UsageError: another one.
    """
    if runtime not in MODULES:
        raise UsageError(f"the device runtime runs on {', '.join(MODULES)}; got {runtime!r}")
    others = {f"{module}.py" for name, (module, _) in MODULES.items() if name != runtime}
    paths = [FOLDER / name for name in SCRIPTS]
    paths += [path for path in sorted((FOLDER / "runtime").rglob("*.py")) if path.name not in others]
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in paths}
