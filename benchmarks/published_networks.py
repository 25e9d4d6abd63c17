"""Write src/edgehone/boards/networks.json: what each layer of the networks with published timings costs.

    .venv/bin/python benchmarks/published_networks.py CFG_FOLDER

CFG_FOLDER holds AlexeyAB/darknet's yolov3-tiny.cfg, yolov4.cfg and yolov4-tiny.cfg. The other networks are written
down here from their papers. Multiply-accumulates and weights of each are held to the published totals.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgehone.models.darknet import read_cfg

OUT = Path(__file__).parents[1] / "src" / "edgehone" / "boards" / "networks.json"
Row = list[int | str]
Map = tuple[int, int, int]


@dataclass
class Tower:
    """Collects layers; maps are ``(channels, height, width)``."""

    rows: list[Row] = field(default_factory=list)

    def conv(self, at: Map, filters: int, kernel: int | tuple[int, int], stride: int = 1, **options: object) -> Map:
        """``groups``: 1; ``same``: padded, so that only the stride shrinks the map."""
        groups = int(str(options.get("groups", 1)))
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        channels, height, width = at
        if options.get("same", True):
            height, width = -(-height // stride), -(-width // stride)
        else:
            height, width = (height - high) // stride + 1, (width - wide) // stride + 1
        weights = filters * (channels // groups) * high * wide
        macs = weights * height * width
        self.rows.append(["conv", filters, height, width, max(high, wide), stride, macs, weights + filters])
        return filters, height, width

    def pool(self, at: Map, kernel: int, stride: int, same: bool = True) -> Map:
        """A pool of any kind: all cost the same."""
        channels, height, width = at
        if same:
            height, width = -(-height // stride), -(-width // stride)
        else:
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        self.rows.append(["maxpool", channels, height, width, kernel, stride, 0, 0])
        return channels, height, width

    def plain(self, kind: str, at: Map) -> Map:
        """A layer without weights that gives this map."""
        self.rows.append([kind, *at, 1, 1, 0, 0])
        return at

    def concat(self, maps: Sequence[Map]) -> Map:
        """Channels of several maps."""
        return self.plain("route", (sum(m[0] for m in maps), *maps[0][1:]))

    def classify(self, at: Map, classes: int = 1000) -> None:
        """The mean of the map and a fully connected layer."""
        self.conv(self.plain("avgpool", (at[0], 1, 1)), classes, 1)


def mobilenet_v1(side: int) -> list[Row]:
    t = Tower()
    at = t.conv((3, side, side), 32, 3, 2)
    steps = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for filters, stride in steps:
        at = t.conv(t.conv(at, at[0], 3, stride, groups=at[0]), filters, 1)
    t.classify(at)
    return t.rows


def inverted(t: Tower, at: Map, filters: int, stride: int, expand: int) -> Map:
    inner = t.conv(at, at[0] * expand, 1) if expand > 1 else at
    out = t.conv(t.conv(inner, inner[0], 3, stride, groups=inner[0]), filters, 1)
    return t.plain("shortcut", out) if stride == 1 and at[0] == filters else out


V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v2(side: int, ssdlite: bool = False) -> list[Row]:
    t = Tower()
    at = t.conv((3, side, side), 32, 3, 2)
    taps: list[Map] = []
    for expand, filters, count, stride in V2:
        for k in range(count):
            if filters == 160 and k == 0:
                taps.append((at[0] * expand, *at[1:]))  # SSD reads the expanded map before the last reduction
            at = inverted(t, at, filters, stride if k == 0 else 1, expand)
    at = t.conv(at, 1280, 1)
    if not ssdlite:
        t.classify(at)
        return t.rows
    taps.append(at)
    for filters in (512, 256, 256, 128):
        at = t.conv(at, filters // 2, 1)
        at = t.conv(t.conv(at, at[0], 3, 2, groups=at[0]), filters, 1)
        taps.append(at)
    for k, tap in enumerate(taps):
        for outputs in (4, 91):
            t.conv(t.conv(tap, tap[0], 3, groups=tap[0]), outputs * (3 if k == 0 else 6), 1)
    return t.rows


def resnet(side: int, blocks: Sequence[int], bottleneck: bool) -> list[Row]:
    """Version 1.5: the stride is in the 3x3."""
    t = Tower()
    at = t.pool(t.conv((3, side, side), 64, 7, 2), 3, 2)
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        filters = width * 4 if bottleneck else width
        for k in range(count):
            stride = 2 if k == 0 and stage else 1
            if bottleneck:
                out = t.conv(t.conv(t.conv(at, width, 1), width, 3, stride), filters, 1)
            else:
                out = t.conv(t.conv(at, width, 3, stride), filters, 3)
            if stride > 1 or at[0] != filters:
                t.conv(at, filters, 1, stride)
            at = t.plain("shortcut", out)
    t.classify(at)
    return t.rows


Branch = Sequence[tuple[int, int | tuple[int, int]]]


def branches(t: Tower, at: Map, several: Sequence[Branch], pooled: int = 0) -> Map:
    """An Inception block: chains of ``(filters, kernel)``, and a pool with a projection."""
    ends: list[Map] = []
    for branch in several:
        end = at
        for filters, kernel in branch:
            end = t.conv(end, filters, kernel)
        ends.append(end)
    if pooled:
        ends.append(t.conv(t.pool(at, 3, 1), pooled, 1))
    return t.concat(ends)


def reduction(t: Tower, at: Map, several: Sequence[Branch]) -> Map:
    """Each chain ends with a stride of 2 and without padding, beside a pool."""
    ends: list[Map] = []
    for branch in several:
        end = at
        for filters, kernel in branch[:-1]:
            end = t.conv(end, filters, kernel)
        ends.append(t.conv(end, branch[-1][0], branch[-1][1], 2, same=False))
    ends.append(t.pool(at, 3, 2, same=False))
    return t.concat(ends)


def inception_v3(side: int) -> list[Row]:
    t = Tower()
    at = t.conv((3, side, side), 32, 3, 2, same=False)
    at = t.pool(t.conv(t.conv(at, 32, 3, same=False), 64, 3), 3, 2, same=False)
    at = t.pool(t.conv(t.conv(at, 80, 1), 192, 3, same=False), 3, 2, same=False)
    for pooled in (32, 64, 64):
        at = branches(t, at, [[(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]], pooled)
    at = reduction(t, at, [[(384, 3)], [(64, 1), (96, 3), (96, 3)]])
    for c in (128, 160, 160, 192):
        seven: Branch = [(c, 1), (c, (1, 7)), (192, (7, 1))]
        twice: Branch = [(c, 1), (c, (7, 1)), (c, (1, 7)), (c, (7, 1)), (192, (1, 7))]
        at = branches(t, at, [[(192, 1)], seven, twice], 192)
    at = reduction(t, at, [[(192, 1), (320, 3)], [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)]])
    for _ in range(2):
        one, three = t.conv(at, 384, 1), t.conv(t.conv(at, 448, 1), 384, 3)
        split = [t.conv(m, 384, kernel) for m in (one, three) for kernel in ((1, 3), (3, 1))]
        at = t.concat([t.conv(at, 320, 1), *split, t.conv(t.pool(at, 3, 1), 192, 1)])
    t.classify(at)
    return t.rows


def inception_v4(side: int) -> list[Row]:
    t = Tower()
    at = t.conv((3, side, side), 32, 3, 2, same=False)
    at = t.conv(t.conv(at, 32, 3, same=False), 64, 3)
    at = t.concat([t.pool(at, 3, 2, same=False), t.conv(at, 96, 3, 2, same=False)])
    left = t.conv(t.conv(at, 64, 1), 96, 3, same=False)
    right = t.conv(t.conv(t.conv(t.conv(at, 64, 1), 64, (1, 7)), 64, (7, 1)), 96, 3, same=False)
    at = t.concat([left, right])
    at = t.concat([t.conv(at, 192, 3, 2, same=False), t.pool(at, 3, 2, same=False)])
    for _ in range(4):
        at = branches(t, at, [[(96, 1)], [(64, 1), (96, 3)], [(64, 1), (96, 3), (96, 3)]], 96)
    at = reduction(t, at, [[(384, 3)], [(192, 1), (224, 3), (256, 3)]])
    for _ in range(7):
        seven: Branch = [(192, 1), (224, (1, 7)), (256, (7, 1))]
        twice: Branch = [(192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))]
        at = branches(t, at, [[(384, 1)], seven, twice], 128)
    at = reduction(t, at, [[(192, 1), (192, 3)], [(256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3)]])
    for _ in range(3):
        one = t.conv(at, 384, 1)
        three = t.conv(t.conv(t.conv(at, 384, 1), 448, (3, 1)), 512, (1, 3))
        split = [t.conv(m, 256, kernel) for m in (one, three) for kernel in ((1, 3), (3, 1))]
        at = t.concat([t.conv(at, 256, 1), *split, t.conv(t.pool(at, 3, 1), 256, 1)])
    t.classify(at)
    return t.rows


def yolov3(side: int) -> list[Row]:
    """Darknet-53 and three heads of 255 channels."""
    t = Tower()
    at = t.conv((3, side, side), 32, 3)
    taps: list[Map] = []
    for count, filters in ((1, 64), (2, 128), (8, 256), (8, 512), (4, 1024)):
        at = t.conv(at, filters, 3, 2)
        for _ in range(count):
            at = t.plain("shortcut", t.conv(t.conv(at, filters // 2, 1), filters, 3))
        taps.append(at)
    for k, tap in enumerate(reversed(taps[2:])):
        if k:
            width = at[0] // 2
            up = t.conv(at, width, 1)
            at = t.concat([t.plain("upsample", (width, up[1] * 2, up[2] * 2)), tap])
        width = 512 // 2**k
        for _ in range(2):
            at = t.conv(t.conv(at, width, 1), width * 2, 3)
        at = t.conv(at, width, 1)
        t.conv(t.conv(at, width * 2, 3), 255, 1)
    return t.rows


def c3(t: Tower, at: Map, filters: int, count: int, shortcut: bool) -> Map:
    inner = t.conv(at, filters // 2, 1)
    for _ in range(count):
        inner = t.conv(t.conv(inner, filters // 2, 1), filters // 2, 3)
        inner = t.plain("shortcut", inner) if shortcut else inner
    return t.conv(t.concat([inner, t.conv(at, filters // 2, 1)]), filters, 1)


def yolov5s(side: int) -> list[Row]:
    """Release 6.0; the tables do not say which release they timed, the earlier ones cost 3 % more."""
    t = Tower()
    at = t.conv((3, side, side), 32, 6, 2)
    taps: list[Map] = []
    for filters, count in ((64, 1), (128, 2), (256, 3), (512, 1)):
        at = c3(t, t.conv(at, filters, 3, 2), filters, count, shortcut=True)
        taps.append(at)
    squeezed = t.conv(at, 256, 1)
    pools = [squeezed, *[t.pool(squeezed, 5, 1) for _ in range(3)]]
    at = t.conv(t.concat(pools), 512, 1)
    laterals: list[Map] = []
    for filters, tap in ((256, taps[2]), (128, taps[1])):
        lateral = t.conv(at, filters, 1)
        laterals.append(lateral)
        up = t.plain("upsample", (filters, lateral[1] * 2, lateral[2] * 2))
        at = c3(t, t.concat([up, tap]), filters, 1, shortcut=False)
    heads = [at]
    for filters, lateral in ((128, laterals[1]), (256, laterals[0])):
        at = c3(t, t.concat([t.conv(at, filters, 3, 2), lateral]), filters * 2, 1, shortcut=False)
        heads.append(at)
    for head in heads:
        t.conv(head, 255, 1)
    return t.rows


def darknet(path: Path, side: int) -> list[Row]:
    rows: list[Row] = []
    for cost in read_cfg(path).graph.layer_costs((side, side)):
        if cost.kind != "head":
            rows.append([cost.kind, *cost.output_shape, cost.kernel, cost.stride, cost.macs, cost.weight_bytes // 4])
    return rows


def main(folder: Path) -> None:
    # name: side, rows, published GMAC and millions of weights, where those are from
    networks: dict[str, tuple[int, list[Row], float, float, str]] = {
        "mobilenet-v1": (224, mobilenet_v1(224), 0.569, 4.2, "arXiv 1704.04861, table 8"),
        "mobilenet-v2": (224, mobilenet_v2(224), 0.300, 3.5, "arXiv 1801.04381, table 4"),
        "mobilenet-v2-ssdlite": (300, mobilenet_v2(300, ssdlite=True), 0.80, 4.3, "arXiv 1801.04381, table 6 (320 px)"),
        "resnet-18": (224, resnet(224, (2, 2, 2, 2), bottleneck=False), 1.814, 11.69, "torchvision, model table"),
        "resnet-50": (224, resnet(224, (3, 4, 6, 3), bottleneck=True), 4.09, 25.56, "torchvision, model table"),
        "inception-v3": (224, inception_v3(224), 2.85, 23.8, "torchvision: 5.71 GMAC at 299 px, scaled"),
        "inception-v4": (299, inception_v4(299), 12.3, 42.7, "Cadene/pretrained-models; timm"),
        "yolov3": (416, yolov3(416), 32.93, 61.92, "darknet: 65.86 BFLOPs"),
        "yolov3-tiny": (416, darknet(folder / "yolov3-tiny.cfg", 416), 2.785, 8.85, "darknet: 5.57 BFLOPs"),
        "yolov4": (416, darknet(folder / "yolov4.cfg", 416), 30.05, 64.36, "darknet: 60.1 BFLOPs"),
        "yolov4-tiny": (416, darknet(folder / "yolov4-tiny.cfg", 416), 3.454, 6.06, "darknet: 6.91 BFLOPs"),
        "yolov5s": (640, yolov5s(640), 8.25, 7.2, "ultralytics/yolov5 6.0: 16.5 BFLOPs"),
    }
    table: dict[str, object] = {}
    for name, (side, rows, gmac, millions, source) in networks.items():
        macs, weights = (sum(int(row[k]) for row in rows) for k in (6, 7))
        print(f"{name:22} {side} px  {macs / 1e9:7.3f} GMAC ({gmac})  {weights / 1e6:6.2f} M weights ({millions})")
        if abs(macs / 1e9 / gmac - 1) > 0.12 or abs(weights / 1e6 / millions - 1) > 0.05:
            sys.exit(f"{name} does not agree with what {source} says")
        table[name] = {"side": side, "totals": source, "layers": rows}
    text = json.dumps({"schema": 1, "columns": COLUMNS, "networks": table}, separators=(",", ":"))
    OUT.write_text(text.replace("],[", "],\n[").replace('"layers":', '"layers":\n') + "\n", encoding="utf-8")


COLUMNS = ["kind", "channels", "height", "width", "kernel", "stride", "macs", "weights"]

if __name__ == "__main__":
    main(Path(sys.argv[1]))
