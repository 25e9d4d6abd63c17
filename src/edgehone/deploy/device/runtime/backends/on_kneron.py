"""A KL720 over USB, through KneronPLUS 2.1 or later (package ``kp``).

Frames come prepared to the model's size, so that the chip's own scaler, whose rounding differs and which pads by at
most 255 pixels a side, is switched off; they go as RGBA8888, since RGB565 loses bits.

Written from the published interface and exercised against a recording of it, not on a board.
"""
# pyright: basic

import re
import time

import cv2
import kp  # pyright: ignore[reportMissingImports]
import numpy as np

from ..faults import DeviceError, LostError, log

KL720 = 0x720
KL720_LEGACY = 0x200
USB_TIMEOUT_MS = 10000
REBOOT_SECONDS = 5
SECOND_MODEL = r"LOAD_SECOND_MODEL|\b40\b"
"""KP_ERROR_USB_BOOT_LOAD_SECOND_MODEL_40 in the text of an error: a device takes one NEF a boot."""


class KneronBackend:
    """See :mod:`..backends`."""

    takes = "picture"
    includes = "transfer over USB to the NPU and back"

    def __init__(self, manifest, threads):
        del threads  # of an NPU
        self.name = f"KneronPLUS {kp.core.get_version()}"
        height, width = manifest.input_size
        if width % 4:
            raise DeviceError(f"the KL720 takes pictures whose width is a multiple of 4, this model's is {width}")
        self._normalise = _normalisation(manifest.picture)
        self._rgba = np.empty((height, width, 4), np.uint8)
        self._wanted = wanted_outputs(manifest)
        self._group = None
        self._order = None
        try:
            self._group = _connect()
            self._model = self._load(manifest.model_path)
        except kp.ApiKPException as error:
            self.close()
            raise LostError(f"the KL720 does not answer: {error}") from None

    def _load(self, path):
        try:
            nef = kp.core.load_model_from_file(device_group=self._group, file_path=path)
        except kp.ApiKPException as error:
            if not _is_second_model(error):
                raise
            log("the KL720 holds another model and takes one a boot: rebooting it")
            reset = kp.ResetMode.KP_RESET_REBOOT
            kp.core.reset_device(device_group=self._group, reset_mode=reset, sleep_secs=REBOOT_SECONDS)
            self._group = _connect_again()
            nef = kp.core.load_model_from_file(device_group=self._group, file_path=path)
        return nef.models[0]

    def run(self, picture):
        """See :mod:`..backends`."""
        cv2.cvtColor(picture, cv2.COLOR_BGR2RGBA, dst=self._rgba)
        image = kp.GenericInputNodeImage(
            image=self._rgba,
            image_format=kp.ImageFormat.KP_IMAGE_FORMAT_RGBA8888,
            resize_mode=kp.ResizeMode.KP_RESIZE_DISABLE,
            padding_mode=kp.PaddingMode.KP_PADDING_DISABLE,
            normalize_mode=self._normalise,
        )
        asked = kp.GenericImageInferenceDescriptor(
            model_id=self._model.id, inference_number=0, input_node_image_list=[image]
        )
        try:
            kp.inference.generic_image_inference_send(
                device_group=self._group, generic_inference_input_descriptor=asked
            )
            result = kp.inference.generic_image_inference_receive(device_group=self._group)
            nodes = [self._node(result, k) for k in range(result.header.num_output_node)]
        except kp.ApiKPException as error:
            raise LostError(f"the KL720 stopped answering: {error}") from None
        if self._order is None:
            self._order = matched(
                [getattr(node, "name", "") for node in nodes],  # since KneronPLUS 3
                [node.ndarray.shape for node in nodes],
                self._wanted,
            )
        return {name: nodes[k].ndarray for name, k in self._order.items()}

    def _node(self, result, index):
        order = kp.ChannelOrdering.KP_CHANNEL_ORDERING_CHW
        return kp.inference.generic_inference_retrieve_float_node(
            node_idx=index, generic_raw_result=result, channels_ordering=order
        )

    def npu_ms(self, picture, runs):
        """Mean milliseconds of the NPU alone for one picture, as the device's own profile says."""
        kp.inference.profile_set_enable(self._group, True)
        for _ in range(runs):
            self.run(picture)
        profile = kp.inference.profile_get_statistics(self._group)
        kp.inference.profile_set_enable(self._group, False)
        return float(profile.model_statistic_list[0].avg_inference_ms)

    def close(self):
        """See :mod:`..backends`."""
        group, self._group = self._group, None
        if group is not None:
            try:
                kp.core.disconnect_devices(device_group=group)
            except kp.ApiKPException as error:
                log(f"the KL720 was gone already: {error}")


def _connect():
    """The first KL720 that can be connected."""
    devices = kp.core.scan_devices().device_descriptor_list
    if any(_product(device) == KL720_LEGACY for device in devices):
        raise DeviceError("this KL720 has its old firmware (USB id 3231:0200): upgrade it to KDP2 with Kneron's DFUT")
    found = [device for device in devices if _product(device) == KL720]
    if not found:
        raise LostError("no KL720 is on USB; plug it in, and see README about the udev rule")
    if not found[0].is_connectable:
        raise LostError("the KL720 is on USB but taken by another program, or its udev rule is missing (see README)")
    group = kp.core.connect_devices(usb_port_ids=[found[0].usb_port_id])
    kp.core.set_timeout(device_group=group, milliseconds=USB_TIMEOUT_MS)
    return group


def _connect_again():
    """After a reboot, when USB may need some seconds to see the device again."""
    for _ in range(REBOOT_SECONDS):
        try:
            return _connect()
        except LostError:
            time.sleep(1)
    return _connect()


def _product(device):
    """USB product id, which is a number or one of ``kp.ProductId``."""
    return int(getattr(device.product_id, "value", device.product_id))


def _normalisation(picture):
    """The device's arithmetic for the manifest's ``pixel * scale + offset``."""
    known = {
        (1 / 256, -0.5): kp.NormalizeMode.KP_NORMALIZE_KNERON,
        (1 / 128, -1.0): kp.NormalizeMode.KP_NORMALIZE_TENSOR_FLOW,
    }
    asked = (picture["scale"], picture["offset"])
    for pair, mode in known.items():
        if abs(pair[0] - asked[0]) < 1e-9 and abs(pair[1] - asked[1]) < 1e-9:
            return mode
    raise DeviceError(f"the KL720 makes pixel / 256 - 0.5 or pixel / 128 - 1, the manifest asks for {asked}")


def _is_second_model(error):
    """Whether a model was not loaded because of another one of this boot.

    What an error holds is not documented beyond its text, which names the code or gives its number.
    """
    return re.search(SECOND_MODEL, str(error)) is not None


def wanted_outputs(manifest):
    """``[(name, elements)]`` of the outputs that the manifest names, in its order."""
    found = []
    for head in manifest.heads:
        cells = (manifest.input_size[0] // head.stride) * (manifest.input_size[1] // head.stride)
        each = {"raw": 5 + len(manifest.classes), "box": 4, "objectness": 1, "classes": len(manifest.classes)}
        for part in ("raw", "box", "objectness", "classes"):
            if part in head.outputs:
                found.append((head.outputs[part], len(head.anchors_px) * each[part] * cells))
    return found


def matched(names, shapes, wanted):
    """``{wanted name: node index}``: by name where the nodes have them, else by size, equals in their order.

    A compiler may leave names empty. Where two outputs are equally large the order of the graph's outputs decides,
    which the golden tensors of the self-test prove or refute.

    Raises:
        DeviceError: an output is not there.
    """
    if {name for name, _ in wanted} <= set(names):
        return {name: names.index(name) for name, _ in wanted}
    free = [(k, int(np.prod(shape))) for k, shape in enumerate(shapes)]
    found = {}
    for name, size in wanted:
        fitting = [k for k, elements in free if elements == size and k not in found.values()]
        if not fitting:
            raise DeviceError(f"the NEF must have an output {name} of {size} numbers; it has {shapes}")
        found[name] = fitting[0]
    return found
