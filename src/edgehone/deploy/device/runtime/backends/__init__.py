"""The libraries that run a graph, behind one interface.

A backend has ``name``; ``takes``, which is ``"tensor"`` (``[1, 3, h, w]`` float32), ``"planes"`` (the same before scale
and offset, uint8) or ``"picture"`` (``[h, w, 3]`` uint8 BGR, prepared); ``run(input)``, which gives ``{output name:
array}``; ``includes``, what the time of a ``run`` holds beside the network; and ``close()``. The arrays may be used
again by the next ``run``. One that can say how long the accelerator alone takes has ``npu_ms(input, runs)``.
"""
# pyright: basic

import importlib
import os

from ..faults import DeviceError

MODULES = {
    "onnxruntime": ("on_onnxruntime", "OnnxRuntimeBackend"),
    "openvino": ("on_openvino", "OpenVinoBackend"),
    "tensorrt": ("on_tensorrt", "TensorRtBackend"),
    "kneron": ("on_kneron", "KneronBackend"),
}


def open_backend(manifest, threads=0, runtime=None):
    """The backend of a bundle, ready to run.

    Args:
        manifest: of the bundle.
        threads: of a CPU runtime; 0 means one for each core that this process may use.
        runtime: another than the manifest's.

    Raises:
        DeviceError: the library, the model or the accelerator is missing, or the model is not read.
    """
    runtime = runtime or manifest.runtime
    if not os.path.isfile(manifest.model_path):
        raise DeviceError(
            f"there is no model at {manifest.model_path}; if it is made on the board, make it as README says"
        )
    module, name = MODULES[runtime]
    try:
        backend = getattr(importlib.import_module(__name__ + "." + module), name)
    except ImportError as error:
        raise DeviceError(f"this bundle runs on {runtime}: {error}; install it as README says") from None
    return backend(manifest, threads or cores())


def cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
