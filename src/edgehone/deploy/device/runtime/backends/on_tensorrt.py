"""TensorRT 7.1 to 10 on a Jetson, with memory through the CUDA runtime library itself: JetPack brings no PyCUDA.

Written from the published interface and exercised against a recording of it, not on a board.
"""
# pyright: basic

import ctypes

import numpy as np
import tensorrt as trt  # pyright: ignore[reportMissingImports]

from ..faults import DeviceError

LIBRARIES = ("libcudart.so", "libcudart.so.10.2", "libcudart.so.11.0", "/usr/local/cuda/lib64/libcudart.so")
TO_DEVICE, TO_HOST = 1, 2
DTYPES = {trt.DataType.FLOAT: np.float32, trt.DataType.HALF: np.float16, trt.DataType.INT32: np.int32}


class TensorRtBackend:
    """See :mod:`..backends`."""

    takes = "tensor"
    includes = "copies to the GPU and back"

    def __init__(self, manifest, threads):
        del threads  # of a GPU
        self.name = f"TensorRT {trt.__version__}"
        logger = trt.Logger(trt.Logger.WARNING)
        trt.init_libnvinfer_plugins(logger, "")  # before an engine with a plug-in is read
        with open(manifest.model_path, "rb") as file:
            self._runtime = trt.Runtime(logger)
            self._engine = self._runtime.deserialize_cuda_engine(file.read())
        if self._engine is None:
            raise DeviceError(
                f"TensorRT {trt.__version__} cannot read {manifest.model_path}: an engine runs on the kind of board "
                "and the release of TensorRT that built it; build it here as README says"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DeviceError("TensorRT has no memory for the engine's work; close other programs")
        self._by_name = hasattr(self._engine, "num_io_tensors")  # since 8.5; the only way since 10
        self._cuda = Cuda()
        self._buffers = [self._cuda.buffer(*row) for row in self._tensors()]
        inputs = [buffer.name for buffer in self._buffers if buffer.is_input]
        if inputs != [manifest.input_name]:
            raise DeviceError(
                f"the engine's input must be {manifest.input_name!r} as the manifest says, it has {inputs}"
            )

    def _tensors(self):
        """``(name, shape, numpy type, is input)`` of each tensor, in the engine's order."""
        engine = self._engine
        if self._by_name:
            for k in range(engine.num_io_tensors):
                name = engine.get_tensor_name(k)
                is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
                yield name, tuple(engine.get_tensor_shape(name)), DTYPES[engine.get_tensor_dtype(name)], is_input
            return
        for k in range(engine.num_bindings):
            shape, dtype = tuple(engine.get_binding_shape(k)), DTYPES[engine.get_binding_dtype(k)]
            yield engine.get_binding_name(k), shape, dtype, engine.binding_is_input(k)

    def run(self, tensor):
        """See :mod:`..backends`."""
        for buffer in self._buffers:
            if buffer.is_input:
                np.copyto(buffer.host, tensor)
                self._cuda.copy(buffer, TO_DEVICE)
        if self._by_name:
            for buffer in self._buffers:
                self._context.set_tensor_address(buffer.name, buffer.device)
            done = self._context.execute_async_v3(stream_handle=self._cuda.stream)
        else:
            bindings = [buffer.device for buffer in self._buffers]
            done = self._context.execute_async_v2(bindings=bindings, stream_handle=self._cuda.stream)
        if not done:
            raise DeviceError("TensorRT could not run the engine; its own message stands above")
        outputs = [buffer for buffer in self._buffers if not buffer.is_input]
        for buffer in outputs:
            self._cuda.copy(buffer, TO_HOST)
        self._cuda.wait()
        return {buffer.name: buffer.host for buffer in outputs}

    def close(self):
        """See :mod:`..backends`."""
        for buffer in self._buffers:
            self._cuda.free(buffer)
        self._buffers = []
        self._cuda.close()
        del self._context, self._engine, self._runtime  # in this order: each needs the next


class Buffer:
    """One tensor twice: ``host``, an array in page-locked memory, and ``device``, an address."""

    def __init__(self, name, is_input, host, host_address, device):
        self.name = name
        self.is_input = is_input
        self.host = host
        self.host_address = host_address
        self.device = device


class Cuda:
    """The six functions of the CUDA runtime library that are needed, and one stream."""

    def __init__(self):
        self._library = _library()
        stream = ctypes.c_void_p()
        self._call("cudaStreamCreate", ctypes.byref(stream))
        self.stream = stream.value

    def _call(self, name, *arguments):
        status = getattr(self._library, name)(*arguments)
        if status:
            self._library.cudaGetErrorString.restype = ctypes.c_char_p
            text = self._library.cudaGetErrorString(status).decode()
            raise DeviceError(f"CUDA's {name} failed: {text} ({status})")

    def buffer(self, name, shape, dtype, is_input):
        """A :class:`Buffer`."""
        count = int(np.prod(shape))
        size = count * np.dtype(dtype).itemsize
        host, device = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cudaMallocHost", ctypes.byref(host), ctypes.c_size_t(size))
        self._call("cudaMalloc", ctypes.byref(device), ctypes.c_size_t(size))
        memory = (ctypes.c_byte * size).from_address(host.value or 0)
        array = np.frombuffer(memoryview(memory), dtype, count).reshape(shape)
        return Buffer(name, is_input, array, host.value, device.value)

    def copy(self, buffer, direction):
        """Start copying a buffer :data:`TO_DEVICE` or :data:`TO_HOST`."""
        ends = (buffer.device, buffer.host_address) if direction == TO_DEVICE else (buffer.host_address, buffer.device)
        size = ctypes.c_size_t(buffer.host.nbytes)
        to, source = (ctypes.c_void_p(end) for end in ends)
        self._call("cudaMemcpyAsync", to, source, size, ctypes.c_int(direction), ctypes.c_void_p(self.stream))

    def wait(self):
        """Until all that was started has ended."""
        self._call("cudaStreamSynchronize", ctypes.c_void_p(self.stream))

    def free(self, buffer):
        """Give a buffer's memory back; its array must not be touched again."""
        self._call("cudaFreeHost", ctypes.c_void_p(buffer.host_address))
        self._call("cudaFree", ctypes.c_void_p(buffer.device))

    def close(self):
        """Give the stream back."""
        self._call("cudaStreamDestroy", ctypes.c_void_p(self.stream))


def _library():
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise DeviceError("the CUDA runtime library must be installed; none of {} is found".format(", ".join(LIBRARIES)))
