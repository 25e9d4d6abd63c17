"""Recorded contract of KneronPLUS, as far as it is called.

Neither library nor board are here, and nothing that they compute is imitated: the recording holds names, argument
types and the order in which calls are allowed, and refuses anything else. It proves that calls are made as
published, not that a board answers. Source: kneron/document_center, docs/plus_python/api_document/V3.2.0 (kp.core,
kp.inference, kp enum).
"""

from __future__ import annotations

from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]


class ApiKPException(Exception):
    """Raised by every call of ``kp`` that fails."""

    def __init__(self, api_return_code: int, function_name: str, result: Any = None) -> None:
        super().__init__(f"Error raised in function: {function_name}. Error code: {api_return_code}.")
        self.code = api_return_code


class ImageFormat(IntEnum):
    KP_IMAGE_FORMAT_RGB565 = 0x60
    KP_IMAGE_FORMAT_RGBA8888 = 0x0D


class ResizeMode(IntEnum):
    KP_RESIZE_DISABLE = 1
    KP_RESIZE_ENABLE = 2


class PaddingMode(IntEnum):
    KP_PADDING_DISABLE = 1
    KP_PADDING_CORNER = 2
    KP_PADDING_SYMMETRIC = 3


class NormalizeMode(IntEnum):
    KP_NORMALIZE_KNERON = 1
    KP_NORMALIZE_TENSOR_FLOW = 2
    KP_NORMALIZE_YOLO = 3


class ChannelOrdering(IntEnum):
    KP_CHANNEL_ORDERING_HCW = 0
    KP_CHANNEL_ORDERING_CHW = 1


class ResetMode(IntEnum):
    KP_RESET_REBOOT = 0
    KP_RESET_INFERENCE = 1


class GenericInputNodeImage:
    def __init__(
        self, *, image: Any, image_format: Any, resize_mode: Any, padding_mode: Any, normalize_mode: Any
    ) -> None:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == {0x0D: 4, 0x60: 2}[int(image_format)]
        self.image = image.copy()
        self.image_format = ImageFormat(image_format)
        self.resize_mode = ResizeMode(resize_mode)
        self.padding_mode = PaddingMode(padding_mode)
        self.normalize_mode = NormalizeMode(normalize_mode)


class GenericImageInferenceDescriptor:
    def __init__(self, *, model_id: int, inference_number: int, input_node_image_list: list[Any]) -> None:
        assert isinstance(model_id, int)
        assert isinstance(input_node_image_list, list)
        self.model_id = model_id
        self.inference_number = inference_number
        self.images = input_node_image_list


class Dongle:
    """A KL720 on USB, as ``kp`` sees it. ``outputs`` are what its NEF answers.

    Attributes:
        plugged: on USB.
        loaded: the model of this boot.
        calls: names of what was called.
        sent: pictures that came in.
        product_id: 0x720, or 0x200 with the old firmware.
        named: whether output nodes have names.
    """

    def __init__(self, outputs: Arrays) -> None:
        self.outputs = outputs
        self.plugged = True
        self.connectable = True
        self.loaded: str | None = None
        self.connected = False
        self.waiting = 0
        self.away = 0
        self.calls: list[str] = []
        self.sent: list[GenericInputNodeImage] = []
        self.product_id = 0x720
        self.named = True
        self.refuses: dict[str, int] = {}

    def module(self) -> ModuleType:
        """What ``import kp`` gives."""
        kp: Any = ModuleType("kp")
        for kind in (ImageFormat, ResizeMode, PaddingMode, NormalizeMode, ChannelOrdering, ResetMode):
            setattr(kp, kind.__name__, kind)
        kp.ApiKPException = ApiKPException
        kp.GenericInputNodeImage = GenericInputNodeImage
        kp.GenericImageInferenceDescriptor = GenericImageInferenceDescriptor
        core = ("get_version", "scan_devices", "connect_devices", "set_timeout", "load_model_from_file")
        kp.core = SimpleNamespace(
            **{name: getattr(self, name) for name in (*core, "reset_device", "disconnect_devices")}
        )
        inference = ("generic_image_inference_send", "generic_image_inference_receive", "profile_set_enable")
        more = ("generic_inference_retrieve_float_node", "profile_get_statistics")
        kp.inference = SimpleNamespace(**{name: getattr(self, name) for name in (*inference, *more)})
        return kp

    def _called(self, name: str, group: Any = "group") -> None:
        self.calls.append(name)
        assert group == "group", "the group that connect_devices gave"
        if name in self.refuses:
            raise ApiKPException(self.refuses.pop(name), name)
        if not self.plugged:
            raise ApiKPException(-4, name)
        assert self.connected or name in {"connect_devices"}, f"{name} before connect_devices"

    def get_version(self) -> str:
        return "3.2.0"

    def scan_devices(self) -> Any:
        self.calls.append("scan_devices")
        self.away -= 1
        one = SimpleNamespace(product_id=self.product_id, usb_port_id=13, is_connectable=self.connectable, link_speed=4)
        return SimpleNamespace(device_descriptor_list=[one] if self.plugged and self.away < 0 else [])

    def connect_devices(self, *, usb_port_ids: list[int]) -> str:
        self._called("connect_devices")
        assert usb_port_ids == [13]
        self.connected = True
        return "group"

    def set_timeout(self, *, device_group: Any, milliseconds: int) -> None:
        self._called("set_timeout", device_group)
        assert milliseconds > 0

    def load_model_from_file(self, *, device_group: Any, file_path: str) -> Any:
        self._called("load_model_from_file", device_group)
        if self.loaded is not None:
            raise ApiKPException(40, "load_model_from_file")
        self.loaded = file_path
        return SimpleNamespace(models=[SimpleNamespace(id=32769)])

    def reset_device(self, *, device_group: Any, reset_mode: Any, sleep_secs: float) -> None:
        self._called("reset_device", device_group)
        assert reset_mode is ResetMode.KP_RESET_REBOOT
        assert sleep_secs >= 1
        self.away = 2  # scans that it takes USB to see it again
        self.loaded, self.connected = None, False  # "device would disconnect after this reset"

    def disconnect_devices(self, *, device_group: Any) -> None:
        self._called("disconnect_devices", device_group)
        self.connected = False

    def unplug(self) -> None:
        self.plugged, self.connected, self.loaded, self.waiting = False, False, None, 0

    def generic_image_inference_send(self, *, device_group: Any, generic_inference_input_descriptor: Any) -> None:
        self._called("generic_image_inference_send", device_group)
        assert self.loaded is not None, "send before a model is loaded"
        assert generic_inference_input_descriptor.model_id == 32769
        self.sent += generic_inference_input_descriptor.images
        self.waiting += 1

    def generic_image_inference_receive(self, *, device_group: Any) -> Any:
        self._called("generic_image_inference_receive", device_group)
        assert self.waiting, "receive without send blocks until the timeout"
        self.waiting -= 1
        return SimpleNamespace(header=SimpleNamespace(num_output_node=len(self.outputs)))

    def generic_inference_retrieve_float_node(
        self, *, node_idx: int, generic_raw_result: Any, channels_ordering: Any
    ) -> Any:
        assert generic_raw_result.header.num_output_node
        assert channels_ordering is ChannelOrdering.KP_CHANNEL_ORDERING_CHW, "the KL720's default"
        name, values = list(self.outputs.items())[node_idx]
        return SimpleNamespace(name=name if self.named else "", ndarray=values)

    def profile_set_enable(self, device_group: Any, enable: bool) -> None:
        self._called("profile_set_enable", device_group)

    def profile_get_statistics(self, device_group: Any) -> Any:
        self._called("profile_get_statistics", device_group)
        return SimpleNamespace(model_statistic_list=[SimpleNamespace(avg_inference_ms=9.5)])
