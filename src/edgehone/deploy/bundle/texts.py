"""What a bundle says to people: a page about it, and whose licences hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgehone.boards import BOARDS, LatencyEstimate
from edgehone.deploy.contents import VERSION, Contents, Source
from edgehone.deploy.latency import Latency, latency_text
from edgehone.types import Json

HOST_ONLY = {
    "cpu": "ONNX Runtime ran this bundle where it was made.",
    "jetson-xavier-nx": "No Jetson was at hand: TensorRT, DeepStream and the scripts for them have not been run.",
    "kneron-kl720": "No KL720 was at hand: its toolchain, KneronPLUS and the script for them have not been run.",
}


def readme(
    board: str,
    source: Source,
    contents: Contents,
    checked: Mapping[str, Json],
    latency: Latency | LatencyEstimate,
    notes: Sequence[str] = (),
) -> str:
    """README.md."""
    info = source.info
    height, width = info.input_size
    time, note = latency_text(latency)
    variants = "\n".join(
        f"| {'**' * (k == 0)}{v.name}{'**' * (k == 0)} | {v.graph} | {v.runtime} | {v.precision} | {v.says} |"
        for k, v in enumerate(contents.variants)
    )
    graphs = "\n".join(f"- `{name}`: {_found(row)}" for name, row in checked.items())
    bold = "\n\nBold is what `manifest.json` says; `variants/NAME.json` copied over it chooses another."
    return f"""\
# {info.model} for {board}

Finds {", ".join(info.class_names)} in pictures of {width} x {height} px ({info.fit}).
Made by edgehone {VERSION} for {BOARDS[board].hardware}.

| variant | graph | runtime | precision | outputs |
|---|---|---|---|---|
{variants}{bold if len(contents.variants) > 1 else ""}

Expected for one picture, without pre- and post-processing: **{time}** ({note}).

{eight_bits(source, notes)}## Steps

{contents.readme.strip()}

## What was checked where this was made

{graphs}
- the golden pictures in `golden*.npz`, by the runtime in this folder; `edgehone verify` repeats it

{HOST_ONLY[board]} The self-test on the board is the proof.

The thresholds are score {source.post.score_threshold:g} and overlap {source.post.iou_threshold:g}, at most
{source.post.limit} detections a picture. See LICENCES.md for whose rights hold.
"""


def eight_bits(source: Source, notes: Sequence[str]) -> str:
    """What 8 bits cost, and what it took: a chapter, where there is something to say."""
    held = source.eight_bits
    lines = [f"- {note}" for note in notes]
    if held is not None and held.accuracy is not None:
        found = held.accuracy
        how = "executed here" if found.ap_executed is not None else "simulated; the board is the proof"
        after = found.ap if found.ap_executed is None else found.ap_executed
        lines += [
            f"- AP on {found.split} ({found.pictures} pictures): {found.ap_real:.4f} in fp32, {found.ap_plain:.4f} in "
            f"plain 8 bits, **{after:.4f}** as delivered ({how})",
            f"- needed: {found.verdict.chosen.detail}; {len(found.verdict.attempts)} tried, all of them in `integer` "
            "of the manifest",
            *(f"- assumed: {text}" for text in found.assumptions),
        ]
    return "## In 8 bits\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def _found(row: Mapping[str, Any]) -> str:
    noise = "signal over noise " + ", ".join(f"{k} {v:g} dB" for k, v in row.get("signal_to_noise_db", {}).items())
    if "max_abs_difference" in row:
        worst = max(row["max_abs_difference"].values(), default=0.0)
        whose = "repaired" if "signal_to_noise_db" in row else "trained"
        said = f"differs from the {whose} network by {worst:.1e} at most"
        said += f"; from the trained: {noise}" if whose == "repaired" else ""
    else:
        said = f"rounds; {noise}"
    form = f"opset {row['opset']}, IR {row['ir_version']}; valid, runs by the board's rules"
    took = f"; {row['p50_ms']:.1f} ms here" if "p50_ms" in row else ""
    return f"{form}, {said} ({row['pictures']} pictures){took}"


def licences(source: Source, board: str) -> str:
    """LICENCES.md."""
    runtime = BOARDS[board].runtime
    return f"""\
# Whose rights hold

- `detect.py`, `selftest.py`, `measure.py`, `runtime/` and the scripts: edgehone {VERSION}, Apache-2.0.
- The weights in the graphs were learned from your data ({len(source.info.class_names)} classes); they are yours
  as far as the rights in that data reach.
- `golden*.npz` and `calibration/` hold pictures of your data set: its licence holds for them. Leave them out before
  passing the bundle on to somebody who may not have them; the self-test then has nothing to compare.
- {runtime}, drivers and compilers are not in this bundle; their makers' terms hold.
"""
