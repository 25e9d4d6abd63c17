"""What a bundle says to people: a page about it, and whose licences hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgehone.boards import BOARDS
from edgehone.deploy.bundle.found import Found, MeasuredVariant
from edgehone.deploy.contents import VERSION, Contents, Source
from edgehone.deploy.integer.gate import describe_attempt
from edgehone.deploy.latency import Latency, latency_text

UNKNOWN = "Where the weights in the graphs come from is not known here: the terms of whoever trained them hold."
HOST_ONLY = {
    "cpu": "The runtimes in the table of times ran this bundle where it was made.",
    "jetson-xavier-nx": "No Jetson was at hand: TensorRT, DeepStream and the scripts for them have not been run.",
    "kneron-kl720": "No KL720 was at hand: its toolchain, KneronPLUS and the script for them have not been run.",
}


def readme(board: str, source: Source, contents: Contents, found: Found) -> str:
    """README.md."""
    info = source.info
    height, width = info.input_size
    time, note = latency_text(found.latency)
    variants = "\n".join(
        f"| {'**' * (k == 0)}{v.name}{'**' * (k == 0)} | {v.graph} | {v.runtime} | {v.precision} | {v.says} |"
        for k, v in enumerate(contents.variants)
    )
    graphs = "\n".join(f"- `{name}`: {_found(row)}" for name, row in found.checked.items())
    bold = "\n\nBold is what `manifest.json` says; `variants/NAME.json` copied over it chooses another."
    return f"""\
# {info.model} for {board}

Finds {", ".join(info.class_names)} in pictures of {width} x {height} px ({info.fit}).
Made by edgehone {VERSION} for {BOARDS[board].hardware}.

| variant | graph | runtime | precision | outputs |
|---|---|---|---|---|
{variants}{bold if len(contents.variants) > 1 else ""}

Expected for one picture, without pre- and post-processing: **{time}** ({note}).

{measured(found.measured)}{eight_bits(source, found.notes)}## Steps

{contents.readme.strip()}

## What was checked where this was made

{graphs}
- the golden pictures in `golden*.npz`, by the runtime in this folder; `edgehone verify` repeats it

{HOST_ONLY[board]} The self-test on the board is the proof.

The thresholds are score {source.post.score_threshold:g} and overlap {source.post.iou_threshold:g}, at most
{source.post.limit} detections a picture. See LICENCES.md for whose rights hold.
"""


def measured(rows: Sequence[MeasuredVariant]) -> str:
    """Times and memory of the variants that run on ordinary computers: a chapter, where there is one."""
    if not rows:
        return ""
    lines = [
        f"| {row.variant} | {la.threads} | {la.p50_ms:.2f} | {la.p90_ms:.2f} | {la.p99_ms:.2f} | {_mib(la)} |"
        for row in rows
        for la in row.latencies
    ]
    lines += [f"| {row.variant} | not measured: {row.not_measured} | | | | |" for row in rows if row.not_measured]
    held = "\n".join(f"- {row.variant}: {_unlike(row)}" for row in rows if row.latencies)
    cpu = next(la.cpu for row in rows for la in row.latencies)
    return f"""\
## MeasuredVariant where this was made

| variant | threads | p50 ms | p90 ms | p99 ms | peak memory MiB |
|---|---|---|---|---|---|
{chr(10).join(lines)}

On {cpu}; the network alone, batch 1; memory of a process that does nothing else, beyond the bare interpreter.

{held}

"""


def _mib(latency: Latency) -> str:
    return "not told" if latency.memory_mib is None else f"{latency.memory_mib:.0f}"


def _unlike(row: MeasuredVariant) -> str:
    if row.max_abs_difference:
        return f"differs from the network by {max(row.max_abs_difference.values()):.1e} at most"
    return "signal over noise " + ", ".join(f"{k} {v:g} dB" for k, v in row.signal_to_noise_db.items())


def eight_bits(source: Source, notes: Sequence[str]) -> str:
    """What 8 bits cost, and what it took: a chapter, where there is something to say."""
    held = source.eight_bits
    lines = [f"- {note}" for note in notes]
    if held is not None and held.accuracy is not None:
        found = held.accuracy
        how = "executed here" if found.ap_executed is not None else "simulated; the board is the proof"
        lines += [
            f"- AP on {found.split} ({found.pictures} pictures): {found.ap_real:.4f} in fp32, {found.ap_plain:.4f} in "
            f"plain 8 bits, **{found.delivered:.4f}** as delivered ({how})",
            f"- needed: {found.verdict.chosen.detail}; {len(found.verdict.attempts)} tried, all of them in `integer` "
            "of the manifest",
            *([] if found.by_openvino is None else [f"- {describe_attempt(found.by_openvino)}"]),
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
    return f"{form}, {said} ({row['pictures']} pictures)"


def licences(source: Source, board: str) -> str:
    """LICENCES.md."""
    runtime = BOARDS[board].runtime
    return f"""\
# Whose rights hold

- `detect.py`, `selftest.py`, `measure.py`, `runtime/` and the scripts: edgehone {VERSION}, Apache-2.0.
- {source.origin or UNKNOWN}
- `golden*.npz` and `calibration/` hold pictures of your data set: its licence holds for them. Leave them out before
  passing the bundle on to somebody who may not have them; the self-test then has nothing to compare.
- {runtime}, drivers and compilers are not in this bundle; their makers' terms hold.
"""
