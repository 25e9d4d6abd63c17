"""Darknet cfgs as graphs: what each key means, the line of every fault, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.errors import EdgehoneError, UsageError
from edgehone.models import (
    Avgpool,
    Convolutional,
    Dropout,
    Graph,
    Head,
    Layer,
    Maxpool,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
)
from edgehone.models.darknet import Cfg, parse_cfg, read_cfg, write_cfg

NET = "[net]\nwidth=64\nheight=32\n"


def layer(text: str, before: str = "[convolutional]\nfilters=8\n") -> Layer:
    """The last layer of a cfg."""
    return parse_cfg(NET + before + text, "a.cfg").graph.layers[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[convolutional]", Convolutional(1, 1, 1, False, "logistic", padding=0)),
        (
            "[conv]\nfilters=16\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky",
            Convolutional(16, 3, 2, True, "leaky"),
        ),
        ("[convolutional]\nsize=3\npadding=1\npad=0", Convolutional(1, 3, 1, False, "logistic", padding=1)),
        ("[convolutional]\nsize=3\npad=1\ndilation=2", Convolutional(1, 3, 1, False, "logistic", dilation=2)),
        ("[convolutional]\npad=1\ndilation=4", Convolutional(1, 1, 1, False, "logistic")),
        ("[convolutional]\npad=1\nstride_x=2\nstride=1", Convolutional(1, 1, (1, 2), False, "logistic")),
        ("[convolutional]\npad=1\nstride_x=2\nstride_y=2", Convolutional(1, 1, 2, False, "logistic")),
        ("[convolutional]\npad=1\nfilters=8\ngroups=4", Convolutional(8, 1, 1, False, "logistic", 4)),
        ("[route]\nlayers=-1", Route((0,))),
        ("[route]\nlayers = -1, 0 # twice\ngroups=2\ngroup_id=1", Route((0, 0), 2, 1)),
        ("[maxpool]\nstride=2", Maxpool(2, 2)),
        ("[maxpool]\nsize=2\nstride=1", Maxpool(2, 1)),
        ("[maxpool]\nsize=5\nstride=1\npadding=2", Maxpool(5, 1, 2)),
        ("[max]\nsize=3\nstride_x=2\nstride=1", Maxpool(3, (1, 2))),
        ("[avgpool]", Avgpool()),
        ("[upsample]\nscale=.5", None),
        ("[dropout]\nprobability=.15", Dropout(0.15)),
        ("[shortcut]\nfrom=-1", Shortcut((0,))),
        ("[shortcut]\nfrom=0\nactivation=swish", Shortcut((0,), "swish")),
        (
            "[shortcut]\nfrom=-1,0\nweights_type=per_layer\nweights_normalization=avg_relu",
            Shortcut((0, 0), "linear", "per_feature", "relu"),
        ),
        ("[sam]\nfrom=-1\nactivation=relu", Sam(0, "relu")),
        ("[reorg]\nstride=2", Reorg(2)),
    ],
)
def test_each_layer_is_read_with_darknets_defaults(text: str, expected: Layer | None) -> None:
    if expected is None:
        before = "[convolutional]\nstride=2\nsize=3\npad=1\n"
        assert layer(text, before) == Upsample(2, 0.5)
    else:
        assert layer(text) == expected


def test_scale_channels_reads_both() -> None:
    before = "[convolutional]\nfilters=8\n[avgpool]\n"
    assert layer("[scale_channels]\nfrom=-2\n", before) == ScaleChannels(0)


def test_a_head_keeps_what_matters() -> None:
    text = (
        "[convolutional]\nfilters=14\nactivation=linear\n[yolo]\nmask = 1,2\nanchors = 1,2, 3,4,  5.5,6\nclasses=2\n"
        "num=3\n"
        "scale_x_y = 1.05\niou_loss=ciou\niou_thresh=.213\nignore_thresh=.7\nmax_delta=5\nnms_kind=greedynms\nmax=90\n"
        "label_smooth_eps=0.1\nobjectness_smooth=1\njitter=.3\nrandom=1\n#new_coords=1\n"
    )
    assert layer(text, "") == Head(
        ((1.0, 2.0), (3.0, 4.0), (5.5, 6.0)),
        (1, 2),
        2,
        1.05,
        iou_loss="ciou",
        iou_thresh=0.213,
        ignore_thresh=0.7,
        max_delta=5.0,
        nms_kind="greedynms",
        max_boxes=90,
        label_smooth_eps=0.1,
        objectness_smooth=True,
        jitter=0.3,
        random=1.0,
    )


def test_the_net_section_is_kept() -> None:
    text = (
        "# a comment\n[network]\nwidth = 64\nheight=32\nchannels=1\nbatch=64\nletter_box=1\npolicy=steps\n[avgpool]\n"
    )
    cfg = parse_cfg(text)
    assert cfg == Cfg(Graph((Avgpool(),), 1), (32, 64), True, (("batch", "64"), ("policy", "steps")))
    assert parse_cfg(write_cfg(cfg)) == cfg


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.cfg: a cfg begins with \[net\]"),
        ("width=3\n", r"line 1: a cfg begins with \[net\]"),
        ("[convolutional]\n", r"a\.cfg: a cfg begins with \[net\]"),
        ("[net]\nwidth=32\n[avgpool]", r"line 1, \[net\]: width and height"),
        (NET, r"line 1, \[net\]: a cfg has layers"),
        (NET + "[softmax]\n", r"line 4, \[softmax\]: unknown layer; the known ones are convolutional"),
        (NET + "[convolutional]\n\nfliters=3\n", r"line 6, \[convolutional\]: unknown key 'fliters'"),
        ("[net]\nwidht=32\nwidth=64\nheight=64\n[avgpool]\n", r"line 2, \[net\]: unknown key 'widht'"),
        (NET + "[convolutional]\nfilters=many\n", r"line 5, \[convolutional\]: filters is a whole number, got 'many'"),
        (NET + "[convolutional]\nfilters=0\n", r"line 5, \[convolutional\]: filters is 1 to 65536, got 0"),
        (NET + "[convolutional]\nsize=1\nsize=3\n", r"line 6, .*'size' has another value already in line 5"),
        (NET + "[convolutional]\nactivation=elu\n", r"line 5, .*activation is one of linear, leaky, .*; got 'elu'"),
        (NET + "[convolutional]\nsize\n", r"line 5, .*a line is key=value, got 'size'"),
        (NET + "[convolutional\n", r"line 4: a section is \[name\]"),
        (NET + "[convolutional]\nxnor=1\n", r"line 5, .*xnor='1' is not supported, only xnor=0"),
        (NET + "[convolutional]\n[route]\nlayers=-2\n", r"line 6, \[route\]: layers is -1 to 0, got -2"),
        (NET + "[convolutional]\n[route]\nlayers=1\n", r"line 6, \[route\]: layers is -1 to 0, got 1"),
        (NET + "[convolutional]\n[route]\n", r"line 5, \[route\]: layers names the layers that it reads"),
        (NET + "[convolutional]\n[sam]\nfrom=0,0\n", r"line 5, \[sam\]: from names one layer, got 2"),
        (NET + "[avgpool]\n[scale_channels]\nfrom=0\nactivation=mish", r"line 7, .*activation is one of"),
        (
            NET + "[convolutional]\nfilters=8\n[convolutional]\nfilters=8\ngroups=3\n",
            r"line 6, .*3 groups divide neither",
        ),
        (NET + "[convolutional]\nstride=64\n", r"line 1, \[net\]: need sides that are multiples of 64"),
        (
            NET + "[convolutional]\n[yolo]\nnum=2\nanchors=1,2,3\n",
            r"line 5, \[yolo\]: num=2 anchors are 4 numbers, got 3",
        ),
        (NET + "[convolutional]\n[yolo]\nanchors=1,2\nmask=1\n", r"line 7, \[yolo\]: mask is 0 to 0, got 1"),
        (
            NET + "[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nanchors=1,2\nclasses=3\n",
            r"line 7, \[yolo\]: layer 1: 1 anchors of 5 \+ 3 logits need filters=8 in the convolution before, it has 7",
        ),
        (
            NET + "[maxpool]\nsize=2\nstride=2\n[yolo]\nanchors=1,2\n",
            r"line 7, \[yolo\]: layer 1: a head reads a convolution",
        ),
    ],
)
def test_faults_are_named_with_their_line(text: str, message: str) -> None:
    with pytest.raises(EdgehoneError, match=message):
        parse_cfg(text, "a.cfg")


def test_files_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no Darknet cfg"):
        read_cfg(tmp_path / "none.cfg")
    path = tmp_path / "a.cfg"
    path.write_bytes(b"# caf\xe9\r\n[net]\r\nwidth=32\r\nheight=32\r\n[avgpool]\r\n")
    assert read_cfg(path).input_size == (32, 32)
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(EdgehoneError, match="at most 1048576 bytes"):
        read_cfg(path)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random chains with random settings; channels are multiples of 4, strides stay within 16."""
    layers: list[Layer] = [Convolutional(16, 3, stride=2)]
    activation = st.sampled_from(["linear", "leaky", "relu", "relu6", "mish", "swish", "logistic"])
    for _ in range(draw(st.integers(1, 8))):
        last = len(layers) - 1
        layers.append(
            draw(
                st.one_of(
                    st.builds(
                        Convolutional,
                        filters=st.just(16),
                        size=st.sampled_from([1, 3, 5]),
                        batch_normalize=st.booleans(),
                        activation=activation,
                        groups=st.sampled_from([1, 2, 4]),
                        dilation=st.just(1),
                        padding=st.none(),
                    ),
                    st.builds(Maxpool, size=st.integers(1, 5), stride=st.just(1)),
                    st.builds(Route, st.just((last, 0, last, 0)), st.just(4), st.integers(0, 3)),
                    st.builds(
                        Shortcut,
                        st.sampled_from([(0,), (0, last)]),
                        activation,
                        st.sampled_from(["per_feature", "per_channel"]),
                        st.sampled_from(["none", "relu", "softmax"]),
                    ),
                    st.builds(Sam, st.just(0), st.sampled_from(["linear", "leaky"])),
                    st.builds(Dropout, st.floats(0, 0.99)),
                )
            )
        )
    return Graph(tuple(layers))


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_what_is_written_reads_back_the_same(graph: Graph) -> None:
    cfg = Cfg(graph, (64, 32))
    assert parse_cfg(write_cfg(cfg)) == cfg
