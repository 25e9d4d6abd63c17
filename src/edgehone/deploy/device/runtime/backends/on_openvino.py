"""OpenVINO on the CPU. The graph takes 8-bit pixels; input and outputs are shared memory, so that nothing is copied."""
# pyright: basic

import openvino  # pyright: ignore[reportMissingImports]
from openvino.preprocess import PrePostProcessor  # pyright: ignore[reportMissingImports]

from ..faults import DeviceError


class OpenVinoBackend:
    """See :mod:`..backends`."""

    takes = "planes"
    includes = ""

    def __init__(self, manifest, threads):
        how = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else it takes bfloat16 where a processor has it: other answers
        }
        how.update(manifest.options)
        try:
            core = openvino.Core()
            model = core.read_model(manifest.model_path)
            names = [item.get_any_name() for item in model.inputs]
            if names == [manifest.input_name]:
                self._model = core.compile_model(of_pixels(model, manifest.picture), "CPU", how)
        except Exception as error:  # its own types differ between releases
            raise DeviceError(f"OpenVINO cannot read {manifest.model_path}: {error}") from None
        if names != [manifest.input_name]:
            raise DeviceError(f"the model's input must be {manifest.input_name!r} as the manifest says, it has {names}")
        self.name = "OpenVINO {}".format(openvino.__version__.split("-")[0])
        self._outputs = [item.get_any_name() for item in self._model.outputs]
        self._request = self._model.create_infer_request()
        self._planes = None

    def run(self, planes):
        """See :mod:`..backends`."""
        if planes is not self._planes:
            self._request.set_input_tensor(openvino.Tensor(planes, shared_memory=True))
            self._planes = planes  # keeps the shared memory alive
        self._request.infer()
        return {name: self._request.get_output_tensor(k).data for k, name in enumerate(self._outputs)}

    def close(self):
        """See :mod:`..backends`."""
        del self._request, self._model, self._planes


def of_pixels(model, picture):
    """A graph that takes uint8 where ``model`` takes ``pixel * scale + offset``: a quarter of the memory traffic."""
    scale, offset = picture["scale"], picture["offset"]
    into = PrePostProcessor(model)
    into.input().tensor().set_element_type(openvino.Type.u8)
    into.input().preprocess().convert_element_type(openvino.Type.f32).mean(-offset / scale).scale(1 / scale)
    return into.build()
