"""Damaged cfg and weights files: a clear error each, never another exception, a hang, or more than 1 GiB.

``EDGEHONE_FUZZ=3000`` runs so many files of each kind; by default a part of them.
"""

from __future__ import annotations

import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from edgehone.darknet_pair import open_pair
from edgehone.errors import EdgehoneError
from edgehone.models import (
    Avgpool,
    Convolutional,
    Dropout,
    Graph,
    Head,
    Maxpool,
    Network,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
    YoloV4Tiny,
)
from edgehone.models.darknet import Cfg, parse_cfg, read_weights, write_cfg, write_weights

FILES = int(os.environ.get("EDGEHONE_FUZZ", "400"))
SECONDS = 20
"""After which a single file counts as a hang."""
GIB = 1 << 30
DARKNET = Path(os.environ.get("EDGEHONE_DARKNET", Path(__file__).parents[2] / "../shared/darknet"))

HEAD = Head(((8, 8), (16, 16)), (0, 1), 2, 1.1)
LAST = Convolutional(14, 1, batch_normalize=False, activation="linear")
SMALL = Graph(
    (
        Convolutional(16, 3, stride=2, activation="mish"),
        Convolutional(16, 3, groups=4, activation="swish"),
        Shortcut((0,), "leaky", "per_channel", "softmax"),
        Avgpool(),
        Convolutional(16, 1, activation="logistic"),
        ScaleChannels(2),
        Sam(2, "relu"),
        Dropout(0.1),
        Maxpool(2, 1),
        Reorg(2),
        Convolutional(16, 3, dilation=2, activation="relu6"),
        LAST,
        HEAD,
        Route((10,), groups=2, group=1),
        Upsample(2, 0.5),
        Route((14, 8)),
        LAST,
        HEAD,
    )
)
NUMBERS = (
    *("0", "-1", "1", "2", "7", "1e9", "2147483647", "-2147483648", "99999999999999999999", "nan", "inf", "0x10"),
    *("1.5", "", "-", "½", "\u0661", "1_000", "10000", "255", "65536", "9" * 5000, "1,2,3", "-1,-2", ",,,", "a"),
)
LINES = (
    *("[convolutional]", "[yolo]", "[route]", "[net]", "[unheard]", "[", "=", "layers=-1", "from=-3", "mask=9", "\x00"),
    *("filters=9999999", "size=31", "stride=64", "groups=3", "new_coords=1", "flipped=1", "é=ü", "# comment"),
    *("stride=2\npadding=1\n[upsample]\nstride=64", "[shortcut]\nfrom=-1", "[reorg]\nstride=2", "[avgpool]"),
)


def cfg_texts() -> list[str]:
    texts = [write_cfg(Cfg(SMALL, (32, 32))), write_cfg(Cfg(YoloV4Tiny(width=0.125).graph(2), (64, 64)))]
    return texts + [path.read_text(encoding="utf-8") for path in sorted(DARKNET.glob("*.cfg"))]


def mutated_cfg(text: str, rng: random.Random) -> str:
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        k = rng.randrange(len(lines))
        choice = rng.randrange(9)
        if choice == 0:
            del lines[k]
        elif choice == 1:
            lines.insert(k, lines[rng.randrange(len(lines))])
        elif choice == 2:
            lines.insert(k, rng.choice(LINES))
        elif choice in (3, 4, 5, 6) and "=" in lines[k]:
            lines[k] = lines[k].split("=")[0] + "=" + rng.choice(NUMBERS)
        elif choice == 7 and lines[k]:
            at = rng.randrange(len(lines[k]))
            lines[k] = lines[k][:at] + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) + lines[k][at + 1 :]
        elif choice == 8:
            start = rng.randrange(len(lines))
            lines[k:k] = lines[start : start + rng.randrange(1, 40)] * rng.choice((1, 1, 30))
        if not lines:
            return ""
    joined = "\n".join(lines)
    return joined[: rng.randrange(len(joined) + 1)] if rng.random() < 0.1 else joined


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    choice = rng.randrange(5)
    if choice == 0:
        return content[: rng.randrange(len(content) + 1)]
    if choice == 1:
        return content + rng.randbytes(rng.randrange(1, 100))
    if choice == 2:
        return rng.randbytes(rng.randrange(200))
    changed = bytearray(content)
    for _ in range(rng.choice((1, 4, 100))):
        changed[rng.randrange(20 if choice == 3 else len(changed))] = rng.randrange(256)
    return bytes(changed)


@pytest.fixture
def bounded() -> Iterator[Callable[[Callable[[], None]], str]]:
    """Runs something with a gibibyte more of memory and some seconds; its error's message, or nothing."""
    torch.set_num_threads(1)
    Network(SMALL).eval()(torch.rand(1, 3, 32, 32))  # libraries load and start threads before memory is bounded
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIB, hard))

    def hang(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, hang)

    def run(job: Callable[[], None]) -> str:
        signal.alarm(SECONDS)
        try:
            job()
        except EdgehoneError as error:
            return str(error)
        finally:
            signal.alarm(0)
        return ""

    yield run
    signal.signal(signal.SIGALRM, before)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_damaged_cfgs(bounded: Callable[[Callable[[], None]], str]) -> None:
    texts, rng = cfg_texts(), random.Random(7)
    outcomes: list[str] = []
    for _ in range(FILES):
        text = mutated_cfg(rng.choice(texts), rng)

        def job(text: str = text) -> None:
            cfg = parse_cfg(text, "damaged.cfg")
            assert parse_cfg(write_cfg(cfg)) == cfg
            costs = cfg.graph.layer_costs(cfg.input_size)
            if sum(c.parameters for c in costs) < 300_000 and sum(c.macs for c in costs) < 2e8:
                with torch.inference_mode():
                    Network(cfg.graph).eval()(torch.zeros(1, cfg.graph.channels, *cfg.input_size))

        outcomes.append(bounded(job))
    told = [message for message in outcomes if message]
    assert max(map(len, told)) < 1500, "an error quotes a part only"
    assert len(told) > 0.4 * FILES, "most damage must be seen"
    assert all(message.startswith("damaged.cfg") for message in told)
    assert sum("line" in message for message in told) > 0.9 * len(told)


def test_damaged_weights(bounded: Callable[[Callable[[], None]], str], tmp_path: Path) -> None:
    rng = random.Random(11)
    torch.manual_seed(0)
    network, path = Network(SMALL), tmp_path / "damaged.weights"
    content = write_weights(network, path).read_bytes()
    told = 0
    for _ in range(FILES):
        path.write_bytes(mutated_bytes(content, rng))
        message = bounded(lambda: void(read_weights(network, path)))
        told += bool(message)
        assert not message or message.startswith("damaged.weights") or "damaged.weights" in message
    assert told > 0.4 * FILES


def test_damaged_pairs(bounded: Callable[[Callable[[], None]], str], tmp_path: Path) -> None:
    rng = random.Random(13)
    cfg, weights = tmp_path / "a.cfg", tmp_path / "a.weights"
    text, content = write_cfg(Cfg(SMALL, (32, 32))), write_weights(Network(SMALL), weights).read_bytes()
    for _ in range(FILES // 10):
        cfg.write_text(mutated_cfg(text, rng) if rng.random() < 0.7 else text, encoding="utf-8")
        weights.write_bytes(mutated_bytes(content, rng) if rng.random() < 0.5 else content)
        bounded(lambda: void(open_pair(cfg, weights)))


@pytest.mark.parametrize(
    "text",
    [
        "[net]\nwidth=4096\nheight=4096\n[convolutional]\nfilters=65536\n",
        "[net]\nwidth=32\nheight=32\n" + "[convolutional]\nfilters=4096\nsize=31\npad=1\n" * 40,
        "[net]\nwidth=32\nheight=32\n[convolutional]\nfilters=64\n" + "[route]\nlayers=-1,-1,-1,-1,-1,-1,-1,-1\n" * 900,
        "[net]\nwidth=32\nheight=32\n[convolutional]\nfilters=64\n" + "[upsample]\nstride=64\n" * 20,
        "[net]\nwidth=4096\nheight=4096\n" + "[convolutional]\nfilters=8\nsize=1\n" * 1000,
        "[net]\nwidth=1024\nheight=1024\n" + "[maxpool]\nsize=2\nstride=2\n" * 1000,
        "[net]\nwidth=32\nheight=32\n[convolutional]\nfilters=9\n[yolo]\nnum=256\nanchors=" + "1,1," * 256 + "\n",
        "[net]\nwidth=" + "9" * 100_000 + "\nheight=32\n[convolutional]\n",
        "a" * 2_000_000,
        "[" * 1000,
        "",
    ],
)
def test_what_asks_for_too_much_is_refused_early(text: str, bounded: Callable[[Callable[[], None]], str]) -> None:
    assert bounded(lambda: void(parse_cfg(text, "vast.cfg"))).startswith("vast.cfg")


def void(result: object) -> None:
    del result
