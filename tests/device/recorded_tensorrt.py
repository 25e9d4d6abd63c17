"""Recorded contract of TensorRT's Python interface and of the CUDA runtime library, as far as they are called.

Neither can run here, and nothing that they compute is imitated: the recording holds names, argument types and the
order in which calls are allowed, and refuses anything else. It proves that calls are made as published, not that a
board answers. TensorRT 7.1 to 8.4 number an engine's tensors (bindings), 8.5 to 10 name them.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class DataType(IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class Gpu:
    """Device memory and a stream; copies and runs happen at synchronisation, as on a stream."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.pending: list[Any] = []
        self.streams = 0
        self.calls: list[str] = []
        self.fails: str | None = None

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name == self.fails:
                return 2
            getattr(self, "_" + name)(*arguments)
            return 0

        return call

    class cudaGetErrorString:  # noqa: N801
        restype: Any = None

        def __new__(cls, status: int) -> Any:
            assert cls.restype is ctypes.c_char_p
            return b"out of memory"

    def _allocate(self, where: dict[int, Any], pointer: Any, size: Any) -> None:
        assert isinstance(size, ctypes.c_size_t)
        block = (ctypes.c_byte * size.value)()
        where[ctypes.addressof(block)] = block
        pointer._obj.value = ctypes.addressof(block)

    def _cudaMalloc(self, pointer: Any, size: Any) -> None:
        self._allocate(self.memory, pointer, size)

    def _cudaMallocHost(self, pointer: Any, size: Any) -> None:
        self._allocate(self.pinned, pointer, size)

    def _cudaFree(self, address: Any) -> None:
        del self.memory[address.value]

    def _cudaFreeHost(self, address: Any) -> None:
        del self.pinned[address.value]

    def _cudaStreamCreate(self, pointer: Any) -> None:
        self.streams += 1
        pointer._obj.value = 77

    def _cudaStreamDestroy(self, stream: Any) -> None:
        assert stream.value == 77
        self.streams -= 1

    def _cudaMemcpyAsync(self, to: Any, source: Any, size: Any, kind: Any, stream: Any) -> None:
        ends = (self.memory, self.pinned) if kind.value == 1 else (self.pinned, self.memory)
        assert to.value in ends[0], "cudaMemcpyKind 1 is host to device, 2 device to host"
        assert source.value in ends[1]
        assert stream.value == 77
        self.pending.append(lambda: ctypes.memmove(to.value, source.value, size.value))

    def _cudaStreamSynchronize(self, stream: Any) -> None:
        assert stream.value == 77
        for work in self.pending:
            work()
        self.pending = []


class Engine:
    """An engine with one input; ``answer`` is called with it and gives the outputs."""

    def __init__(self, gpu: Gpu, shape: tuple[int, ...], example: Arrays, answer: Any) -> None:
        self.gpu = gpu
        self.rows = [("images", shape, DataType.FLOAT)]
        kinds = {"float32": DataType.FLOAT, "int32": DataType.INT32, "float16": DataType.HALF}
        self.rows += [(name, values.shape, kinds[values.dtype.name]) for name, values in example.items()]
        self.answer = answer
        self.addresses: dict[str, int] = {}
        self.runs = 0

    def create_execution_context(self) -> Any:
        return self.context()

    def _run(self, stream_handle: int) -> bool:
        assert stream_handle == 77
        assert set(self.addresses) == {name for name, _, _ in self.rows}
        assert all(address in self.gpu.memory for address in self.addresses.values()), "addresses on the device"
        self.gpu.pending.append(self._work)
        self.runs += 1
        return True

    def _work(self) -> None:
        block = self.gpu.memory[self.addresses["images"]]
        tensor = np.frombuffer(block, np.float32).reshape(self.rows[0][1])
        for name, values in self.answer(tensor).items():
            ctypes.memmove(self.addresses[name], values.ctypes.data, values.nbytes)


class BindingEngine(Engine):
    """TensorRT 7.1 to 8.4: tensors by number."""

    @property
    def num_bindings(self) -> int:
        return len(self.rows)

    def get_binding_name(self, index: int) -> str:
        return self.rows[index][0]

    def get_binding_shape(self, index: int) -> tuple[int, ...]:
        return self.rows[index][1]

    def get_binding_dtype(self, index: int) -> DataType:
        return self.rows[index][2]

    def binding_is_input(self, index: int) -> bool:
        return index == 0

    def context(self) -> Any:
        def execute_async_v2(*, bindings: list[int], stream_handle: int) -> bool:
            assert all(isinstance(address, int) for address in bindings)
            self.addresses = {row[0]: address for row, address in zip(self.rows, bindings, strict=True)}
            return self._run(stream_handle)

        return SimpleNamespace(execute_async_v2=execute_async_v2)


class NamedEngine(Engine):
    """TensorRT 8.5 to 10: tensors by name."""

    @property
    def num_io_tensors(self) -> int:
        return len(self.rows)

    def get_tensor_name(self, index: int) -> str:
        return self.rows[index][0]

    def _row(self, name: str) -> tuple[str, tuple[int, ...], DataType]:
        return next(row for row in self.rows if row[0] == name)

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "images" else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._row(name)[1]

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._row(name)[2]

    def context(self) -> Any:
        def set_tensor_address(name: str, address: int) -> bool:
            self.addresses[name] = address
            return True

        def execute_async_v3(*, stream_handle: int) -> bool:
            return self._run(stream_handle)

        return SimpleNamespace(set_tensor_address=set_tensor_address, execute_async_v3=execute_async_v3)


def tensorrt_module(engine: Engine | None, version: str) -> ModuleType:
    """What ``import tensorrt`` gives; an engine of None is one that cannot be read."""
    trt: Any = ModuleType("tensorrt")
    plugins: list[str] = []

    class Logger:
        WARNING = 2

        def __init__(self, level: int) -> None:
            assert level == self.WARNING

    class Runtime:
        def __init__(self, logger: Any) -> None:
            assert isinstance(logger, Logger)

        def deserialize_cuda_engine(self, content: bytes) -> Any:
            assert plugins, "init_libnvinfer_plugins comes before an engine with a plug-in is read"
            assert isinstance(content, bytes)
            return engine

    def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
        assert namespace == ""
        plugins.append("loaded")
        return True

    trt.__version__ = version
    trt.Logger, trt.Runtime = Logger, Runtime
    trt.init_libnvinfer_plugins = init_libnvinfer_plugins
    trt.DataType, trt.TensorIOMode = DataType, TensorIOMode
    return trt
