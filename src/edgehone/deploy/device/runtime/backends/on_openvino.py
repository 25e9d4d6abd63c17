"""OpenVINO on the CPU. The input is shared memory and outputs are views, so that nothing is copied."""
# pyright: basic

import openvino  # pyright: ignore[reportMissingImports]

from ..faults import DeviceError


class OpenVinoBackend:
    """See :mod:`..backends`."""

    takes = "tensor"

    def __init__(self, manifest, threads):
        how = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else it takes bfloat16 where a processor has it: other answers
        }
        how.update(manifest.options)
        try:
            core = openvino.Core()
            self._model = core.compile_model(core.read_model(manifest.model_path), "CPU", how)
        except Exception as error:  # its own types differ between releases
            raise DeviceError(f"OpenVINO cannot read {manifest.model_path}: {error}") from None
        self.name = "OpenVINO {}".format(openvino.__version__.split("-")[0])
        names = [item.get_any_name() for item in self._model.inputs]
        if names != [manifest.input_name]:
            raise DeviceError(f"the model's input must be {manifest.input_name!r} as the manifest says, it has {names}")
        self._outputs = [item.get_any_name() for item in self._model.outputs]
        self._request = self._model.create_infer_request()
        self._tensor = None

    def run(self, tensor):
        """See :mod:`..backends`."""
        if tensor is not self._tensor:
            self._request.set_input_tensor(openvino.Tensor(tensor, shared_memory=True))
            self._tensor = tensor  # keeps the shared memory alive
        self._request.infer()
        return {name: self._request.get_output_tensor(k).data for k, name in enumerate(self._outputs)}

    def close(self):
        """See :mod:`..backends`."""
        del self._request, self._model, self._tensor
