"""ONNX Runtime on the CPU."""
# pyright: basic

import onnxruntime

from ..faults import DeviceError


class OnnxRuntimeBackend:
    """See :mod:`..backends`."""

    takes = "tensor"
    includes = ""

    def __init__(self, manifest, threads, path=None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = path or manifest.model_path
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # many private types
            raise DeviceError(f"ONNX Runtime cannot read {path}: {error}") from None
        self.name = f"ONNX Runtime {onnxruntime.__version__}"
        self._input = manifest.input_name
        if [item.name for item in self._session.get_inputs()] != [self._input]:
            found = ", ".join(item.name for item in self._session.get_inputs())
            raise DeviceError(f"the model's input must be {self._input!r} as the manifest says, it has {found}")
        self._outputs = [item.name for item in self._session.get_outputs()]

    def run(self, tensor):
        """See :mod:`..backends`."""
        return dict(zip(self._outputs, self._session.run(self._outputs, {self._input: tensor})))

    def close(self):
        """See :mod:`..backends`."""
        del self._session
