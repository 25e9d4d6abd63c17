"""What a bundle holds and how its detector is read: ``manifest.json``, read and checked."""
# pyright: basic

import hashlib
import json
import os

from .faults import DeviceError

NAME = "manifest.json"
SCHEMA = 1
RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "kneron")
DELIVERED = ("onnxruntime", "openvino")
"""Runtimes whose model comes with the bundle; those of the others are made from its graph on or for the board."""
PRECISIONS = ("fp32", "fp16", "int8", "int16")
CODINGS = ("exp", "squared_sigmoid", "distances")
CANDIDATES = 1000
SPLIT = {"box", "objectness", "classes"}


class Head:
    """One output level.

    Attributes:
        stride: pixels per cell.
        outputs: ``{"raw": name}``, or names under ``box``, ``objectness`` and ``classes``.
        anchors_px: ``(width, height)`` of each anchor.
        coding: how its boxes are coded, with its settings.
    """

    def __init__(self, content, coding, place):
        self.stride = _whole(content, "stride", place)
        self.outputs = _get(content, "outputs", dict, place)
        self.anchors_px = [_pair(anchor, place) for anchor in _get(content, "anchors_px", list, place)]
        self.coding = content.get("coding", coding)
        if set(self.outputs) not in ({"raw"}, SPLIT):
            raise _fault(place + ".outputs", "raw, or box, objectness and classes", sorted(self.outputs))
        if not isinstance(self.coding, dict) or self.coding.get("kind") not in CODINGS:
            raise _fault(place + ".coding.kind", " or ".join(CODINGS), self.coding)


class Manifest:
    """The content of ``manifest.json``, checked.

    Attributes:
        folder: of the bundle.
        board: name.
        files: name to SHA-256 in hex.
        network: name, fingerprint and layer costs, for ``measured.json``; may be empty.
        runtime: one of :data:`RUNTIMES`.
        precision: of the arithmetic.
        options: of the runtime, as it names them; only OpenVINO has some.
        model_path: of what the runtime loads.
        graph_path: of the ONNX graph from which that was made; the same file where the runtime loads ONNX.
        input_name: of the graph's input.
        input_size: ``(height, width)``.
        picture: how a picture is brought into the input; see :class:`~.preparation.Preparation`.
        classes: names in the order of the class scores.
        heads: coarse stride first; empty where the graph suppresses by itself.
        efficient_nms: whether the graph ends in EfficientNMS_TRT.
        scores: activation of ``objectness`` and ``classes``.
        suppression: ``threshold``, ``iou``, ``max_detections``, ``candidates``, ``per_class``.
        golden_path: of the golden tensors, or None.
        tolerance: of the golden tensors.
    """

    def __init__(self, folder, content):
        if content.get("schema") != SCHEMA:
            raise _fault("schema", SCHEMA, content.get("schema"))
        self.folder = folder
        self.content = content
        self.board = _get(content, "board", str)
        self.files = _get(content, "files", dict)
        self.network = content.get("network", {})
        model = _get(content, "model", dict)
        self.runtime = _one_of(model, "runtime", RUNTIMES, "model")
        self.precision = _one_of(model, "precision", PRECISIONS, "model")
        self.model_path = self.path_of(_get(model, "path", str, "model"))
        self.graph_path = self.path_of(model.get("graph", model["path"]))
        self.options = dict(model.get("options", {}))
        if "graph" in model:
            self._listed(model["graph"])
        if self.runtime in DELIVERED:
            self._listed(model["path"])
        self._read_input(_get(content, "input", dict))
        self.classes = [str(name) for name in _get(content, "classes", list)]
        self._read_heads(content)
        golden = content.get("golden") or {}
        self.golden_path = self.path_of(self._listed(golden["path"])) if "path" in golden else None
        self.tolerance = golden.get("tolerance", {})

    def _read_input(self, content):
        self.input_name = _get(content, "name", str, "input")
        shape = _get(content, "shape", list, "input")
        if len(shape) != 4 or shape[:2] != [1, 3] or not all(isinstance(s, int) and s > 0 for s in shape):
            raise _fault("input.shape", "[1, 3, height, width]", shape)
        self.input_size = (shape[2], shape[3])
        pad_value = content.get("pad_value", 0)
        if not isinstance(pad_value, int) or not 0 <= pad_value <= 255:
            raise _fault("input.pad_value", "a gray level in 0..255", pad_value)
        self.picture = {
            "fit": _one_of(content, "fit", ("stretch", "letterbox"), "input"),
            "pad_value": pad_value,
            "resize": _one_of(
                dict(content, resize=content.get("resize", "area")), "resize", ("area", "linear"), "input"
            ),
            "colour": _one_of(content, "colour", ("rgb", "bgr"), "input"),
            "scale": float(_number(content, "scale", "input")),
            "offset": float(_number(content, "offset", "input")),
        }

    def _read_heads(self, content):
        self.efficient_nms = content.get("outputs") == "efficient_nms"
        heads = _get(content, "heads", list)
        if self.efficient_nms == bool(heads):
            raise _fault("heads", 'a list of heads, or empty with "outputs": "efficient_nms"', heads)
        coding = content.get("coding")
        self.heads = [Head(head, coding, f"heads[{k}]") for k, head in enumerate(heads)]
        for head in self.heads:
            if self.input_size[0] % head.stride or self.input_size[1] % head.stride:
                raise _fault("heads.stride", f"a divisor of the input's sides {self.input_size}", head.stride)
        scores = content.get("scores", {})
        self.scores = {
            "objectness": scores.get("objectness", "sigmoid"),
            "classes": scores.get("classes", "sigmoid"),
        }
        for name, allowed in (("objectness", ("sigmoid", "none")), ("classes", ("sigmoid", "softmax", "none"))):
            _one_of(self.scores, name, allowed, "scores")
        suppression = _get(content, "suppression", dict)
        _one_of(dict(suppression, kind=suppression.get("kind", "greedy")), "kind", ("greedy",), "suppression")
        self.suppression = {
            "threshold": float(_number(suppression, "threshold", "suppression")),
            "iou": float(_number(suppression, "iou", "suppression")),
            "max_detections": _whole(suppression, "max_detections", "suppression"),
            "candidates": int(suppression.get("candidates", CANDIDATES)),
            "per_class": bool(suppression.get("per_class", True)),
        }

    def _listed(self, name):
        """A file whose bytes matter must have a checksum."""
        if name not in self.files:
            raise _fault("files", f"a list with the checksum of {name}", sorted(self.files))
        return name

    def path_of(self, name):
        """Full path of a file of the bundle.

        Raises:
            DeviceError: a name that leads out of the bundle.
        """
        path = os.path.normpath(str(name))
        if os.path.isabs(path) or path.split(os.sep)[0] == os.pardir:
            raise _fault("a file name", "a path inside the bundle", name)
        return os.path.join(self.folder, path)

    def changed_files(self):
        """Names and reasons of files that are missing or whose bytes are not those that were delivered."""
        found = []
        for name in sorted(self.files):
            path = self.path_of(name)
            if not os.path.isfile(path):
                found.append((name, "is missing"))
            elif sha256_of(path) != self.files[name]:
                found.append((name, "was changed: its SHA-256 is not the one in " + NAME))
        return found


def read_manifest(folder):
    """The manifest of a bundle.

    Raises:
        DeviceError: it is missing, no JSON, or of another shape than this runtime reads.
    """
    path = os.path.join(folder, NAME)
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except OSError:
        raise DeviceError(f"a bundle holds a {NAME}; there is none in {folder}") from None
    except ValueError as error:
        raise DeviceError(f"{path} must be JSON: {error}; deliver the bundle again") from None
    if not isinstance(content, dict):
        raise _fault("its content", "one object", content)
    return Manifest(folder, content)


def sha256_of(path):
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _fault(place, rule, got):
    return DeviceError(f"{NAME}: {place} must be {rule}, got {got!r}; deliver the bundle again")


def _get(content, key, kind, place=""):
    value = content.get(key)
    if not isinstance(value, kind):
        raise _fault(".".join(part for part in (place, key) if part), f"a {kind.__name__}", value)
    return value


def _one_of(content, key, allowed, place):
    value = content.get(key)
    if value not in allowed:
        raise _fault(f"{place}.{key}", " or ".join(allowed), value)
    return value


def _number(content, key, place):
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _fault(f"{place}.{key}", "a number", value)
    return value


def _whole(content, key, place):
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _fault(f"{place}.{key}", "a whole number of at least 1", value)
    return value


def _pair(value, place):
    if not isinstance(value, list) or len(value) != 2:
        raise _fault(place + ".anchors_px", "[[width, height], ...]", value)
    return (float(value[0]), float(value[1]))
