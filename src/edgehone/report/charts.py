"""Charts as SVG: made by Vega-Lite without a browser, coloured to suit a light and a dark page.

Axes and texts are drawn in ``currentColor``, so they take the page's ink. Texts are laid out at
:data:`LAYOUT_FONT_PX` but the page shows them smaller (``template.html.j2``): the reader's font may be wider than
the one that measured them, and must still fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

from edgehone.report.palette import series_colour

WIDTH = 620
HEIGHT = 260
LAYOUT_FONT_PX = 14
Row = Mapping[str, Any]

FONT = "Arial, Liberation Sans, Helvetica, DejaVu Sans, sans-serif"
"""One width of letters nearly everywhere: texts are laid out here but drawn by the reader's browser."""

VEGA_LITE = alt.SCHEMA_VERSION.rsplit(".", 1)[0]


def size_histogram(counts: Mapping[str, Sequence[int]], edges_px: Sequence[float], strides: Sequence[int]) -> str:
    """Objects by size at the network input, stacked by class; dashed lines mark the strides.

    Args:
        counts: class name to number of objects in each bin.
        edges_px: borders of the bins, sqrt(area) in pixels of the input, one more than bins.
        strides: of the heads, pixels.
    """
    rows = [
        {"low": low, "high": high, "class": name, "from": below, "to": below + count}
        for low, high, column in zip(edges_px, edges_px[1:], _columns(counts), strict=False)
        for name, below, count in column
        if count
    ]
    x = alt.X("low", type="quantitative", title="object side at the input, sqrt(area), px (log scale)")
    x = x.scale(type="log", domain=[edges_px[0], edges_px[-1]], nice=False)
    x = x.axis(values=[2**k for k in range(1, 11)])
    bars = _chart(rows).mark_bar(stroke=None)
    bars = bars.encode(
        x=x,
        x2=alt.X2("high"),
        y=alt.Y("from", type="quantitative", title="objects"),
        y2=alt.Y2("to"),
        color=_colour("class", list(counts)),
    )
    marks = _chart([{"stride": s, "label": f"stride {s}"} for s in strides if edges_px[0] <= s <= edges_px[-1]])
    position = alt.X("stride", type="quantitative")
    lines = marks.mark_rule(strokeDash=[4, 3], color="currentColor").encode(x=position)
    names = marks.mark_text(align="left", dx=4, dy=6, baseline="top", color="currentColor").encode(
        x=position, y=alt.value(0), text=alt.Text("label", type="nominal")
    )
    return _svg(alt.layer(bars, lines, names).properties(width=WIDTH, height=HEIGHT))


def _columns(counts: Mapping[str, Sequence[int]]) -> list[list[tuple[str, int, int]]]:
    """Per bin, ``(class, objects below it in the stack, objects)``."""
    columns: list[list[tuple[str, int, int]]] = []
    for column in zip(*counts.values(), strict=True):
        below, stack = 0, list[tuple[str, int, int]]()
        for name, count in zip(counts, column, strict=True):
            stack.append((name, below, count))
            below += count
        columns.append(stack)
    return columns


def class_bars(values: Mapping[str, float], title: str) -> str:
    """One horizontal bar a class, in the given order."""
    rows = [{"class": name, "value": value, "label": f"{value:,.4g}"} for name, value in values.items()]
    y = alt.Y("class", type="nominal", sort=list(values), title=None)
    x = alt.X("value", type="quantitative", title=title)
    bars = _chart(rows).mark_bar(color=series_colour(0), height={"band": 0.7}).encode(x=x, y=y)
    numbers = _chart(rows).mark_text(align="left", dx=4, color="currentColor")
    numbers = numbers.encode(x=x, y=y, text=alt.Text("label", type="nominal"))
    return _svg(alt.layer(bars, numbers).properties(width=WIDTH - 120, height={"step": 22}))


def intervals(rows: Sequence[tuple[str, float, float, float]], title: str) -> str:
    """Values with their 95 % intervals, one line each: ``(name, value, low, high)``."""
    data = [{"name": n, "value": v, "low": lo, "high": hi} for n, v, lo, hi in rows]
    y = alt.Y("name", type="nominal", sort=[row[0] for row in rows], title=None)
    x = alt.X("low", type="quantitative", title=title).scale(zero=False, padding=12)
    colour = alt.condition(alt.datum["name"] == rows[0][0], alt.value(series_colour(1)), alt.value(series_colour(0)))
    ranges = _chart(data).mark_rule(strokeWidth=2.5).encode(x=x, x2=alt.X2("high"), y=y, color=colour)
    points = _chart(data).mark_point(filled=True, size=90, opacity=1)
    points = points.encode(x=alt.X("value", type="quantitative"), y=y, color=colour)
    return _svg(alt.layer(ranges, points).properties(width=WIDTH - 120, height={"step": 32}))


def shares(rows: Sequence[tuple[str, float, float, float]], floor: float, title: str) -> str:
    """Shares in percent with their intervals, ``(name, value, low, high)``; a dashed line marks the floor of chance."""
    data = [{"name": n, "value": 100 * v, "low": 100 * lo, "high": 100 * hi} for n, v, lo, hi in rows]
    y = alt.Y("name", type="nominal", sort=[row[0] for row in rows], title=None).axis(labelLimit=300)
    x = alt.X("value", type="quantitative", title=title)
    bars = _chart(data).mark_bar(color=series_colour(0), height={"band": 0.6}).encode(x=x, y=y)
    ranges = _chart(data).mark_rule(strokeWidth=1.5, color="currentColor")
    ranges = ranges.encode(x=alt.X("low", type="quantitative"), x2=alt.X2("high"), y=y)
    line = _chart([{"floor": 100 * floor}]).mark_rule(strokeDash=[4, 3], color=series_colour(1), strokeWidth=2)
    line = line.encode(x=alt.X("floor", type="quantitative"))
    return _svg(alt.layer(bars, ranges, line).properties(width=WIDTH - 220, height={"step": 26}))


EFFECTS = ("whole", "hurts", "helps", "within noise")
"""What a bar of a waterfall shows, in the order of their colours."""


def waterfall(rows: Sequence[tuple[str, float, float, str]], title: str) -> str:
    """Bars that each begin where the one above ends: ``(name, from, to, what it did)``, the first and last whole."""
    data = [
        {"name": f"{k}. {n}" if 0 < k < len(rows) - 1 else n, "from": a, "to": b, "effect": e, "label": _signed(a, b)}
        for k, (n, a, b, e) in enumerate(rows)
    ]
    y = alt.Y("name", type="nominal", sort=[str(row["name"]) for row in data], title=None).axis(labelLimit=300)
    x = alt.X("from", type="quantitative", title=title)
    bars = _chart(data).mark_bar(height={"band": 0.65})
    bars = bars.encode(x=x, x2=alt.X2("to"), y=y, color=_colour("effect", EFFECTS))
    numbers = _chart([{**row, "end": max(float(row["from"]), float(row["to"]))} for row in data])
    numbers = numbers.mark_text(align="left", dx=4, color="currentColor")
    numbers = numbers.encode(x=alt.X("end", type="quantitative"), y=y, text=alt.Text("label", type="nominal"))
    return _svg(alt.layer(bars, numbers).properties(width=WIDTH - 240, height={"step": 28}))


def _signed(start: float, end: float) -> str:
    return f"{end:.3f}" if start == 0 else f"{end - start:+.3f}"


def trials(rows: Sequence[tuple[str, float, str]], rungs: Sequence[str], measure: str) -> str:
    """What every trial was worth by rung: ``(rung, value, fate)``, where fate names the colour."""
    data = [{"rung": rung, "value": value, "fate": fate} for rung, value, fate in rows]
    fates = list(dict.fromkeys(row[2] for row in rows))
    chart = _chart(data).mark_circle(size=80, opacity=0.8)
    chart = chart.encode(
        x=alt.X("rung", type="nominal", sort=list(rungs), title="rung").axis(labelAngle=0),
        y=alt.Y("value", type="quantitative", title=f"{measure} on validation"),
        color=_colour("fate", fates),
        xOffset=alt.XOffset("fate", type="nominal"),
    )
    return _svg(chart.properties(width=WIDTH, height=HEIGHT))


def front(
    points: Sequence[tuple[str, float, float]], rest: Sequence[tuple[float, float]], names: tuple[str, str]
) -> str:
    """Two objectives of the full trainings: the front joined by a line, what it beats as dots.

    Args:
        points: of the front: a label, the second objective and the first.
        rest: other full trainings, likewise.
        names: of the first and the second objective.
    """
    data = [{"x": x, "y": y, "label": label} for label, x, y in points]
    x = alt.X("x", type="quantitative", title=names[1]).scale(zero=False, padding=30)
    y = alt.Y("y", type="quantitative", title=f"{names[0]} on validation").scale(zero=False, padding=20)
    line = _chart(data).mark_line(strokeWidth=1.5, color=series_colour(1)).encode(x=x, y=y)
    dots = _chart(data).mark_circle(size=90, opacity=1, color=series_colour(1)).encode(x=x, y=y)
    labels = _chart(data).mark_text(align="left", dx=8, dy=14, color="currentColor").encode(x=x, y=y)
    labels = labels.encode(text=alt.Text("label", type="nominal"))
    others = _chart([{"x": a, "y": b} for a, b in rest]).mark_circle(size=60, color=series_colour(0)).encode(x=x, y=y)
    return _svg(alt.layer(others, line, dots, labels).properties(width=WIDTH, height=HEIGHT))


def curves(runs: Mapping[str, Sequence[Row]], key: str, title: str, *, log: bool = False) -> str:
    """One value over the training of several runs, by share of the training.

    Args:
        runs: name to points with ``step`` and ``key``; points without it are left out.
        key: of the value.
        title: of the axis.
        log: logarithmic axis; values that are not positive are left out.
    """
    rows = [
        {"share": 100 * point["step"] / points[-1]["step"], "value": point[key], "run": name}
        for name, points in runs.items()
        for point in points
        if key in point and (point[key] > 0 or not log)
    ]
    y = alt.Y("value", type="quantitative", title=title)
    chart = _chart(rows).mark_line(strokeWidth=1.8, clip=True)
    chart = chart.encode(
        x=alt.X("share", type="quantitative", title="share of the training, %")
        .scale(domain=[0, 100])
        .axis(values=list(range(0, 101, 20))),
        y=y.scale(type="log").axis(values=[m * 10.0**k for k in range(-6, 5) for m in (1, 3)]) if log else y,
        color=_colour("run", list(runs)),
    )
    return _svg(chart.properties(width=WIDTH, height=200))


def precision_recall(
    found: Mapping[str, Sequence[float]], default: Mapping[str, Sequence[float]], default_name: str
) -> str:
    """Precision over recall at IoU 0.5, a small chart a class; 101 points from recall 0 to 1."""
    names = {"found": found, default_name: default}
    rows = [
        {"recall": k / 100, "precision": value, "class": label, "strategy": name}
        for name, by_class in names.items()
        for label, points in by_class.items()
        for k, value in enumerate(points)
    ]
    shown = [name for name, by_class in names.items() if by_class]
    chart = _chart(rows).mark_line(strokeWidth=1.8)
    chart = chart.encode(
        x=alt.X("recall", type="quantitative", title="recall").axis(values=[0, 0.5, 1]),
        y=alt.Y("precision", type="quantitative", title="precision").axis(values=[0, 0.5, 1]),
        color=_colour("strategy", shown),
        facet=alt.Facet("class", type="nominal", columns=4, title=None, sort=list(found)),
    )
    return _svg(chart.properties(width=135, height=135))


def _chart(rows: Sequence[Row]) -> alt.Chart:
    return alt.Chart(alt.Data(values=[dict(row) for row in rows]))


def _colour(field: str, names: Sequence[str]) -> alt.Color:
    """A colour a name, in order; the legend above the chart."""
    colours = [series_colour(k) for k in range(len(names))]
    colour = alt.Color(field, type="nominal").scale(domain=list(names), range=colours)
    return colour.legend(orient="top", title=None, columns=4, symbolOpacity=1, labelLimit=210)


def _svg(chart: alt.Chart | alt.LayerChart | alt.FacetChart) -> str:
    """Finished SVG on a transparent ground."""
    spec: dict[str, Any] = chart.to_dict()
    ink = {"labelColor": "currentColor", "titleColor": "currentColor"}
    quiet = {"domainColor": "#88929c", "tickColor": "#88929c", "gridColor": "#88929c", "gridOpacity": 0.22}
    small = {
        "labelFontSize": LAYOUT_FONT_PX,
        "labelFlush": False,
        "titleFontSize": LAYOUT_FONT_PX,
        "titleFontWeight": "normal",
        "labelLimit": 160,
    }
    spec["config"] = {
        "background": None,
        "font": FONT,
        "padding": {"left": 2, "right": 12, "top": 5, "bottom": 5},
        "view": {"stroke": None},
        "axis": {**ink, **quiet, **small},
        "legend": {**ink, "labelFontSize": LAYOUT_FONT_PX, "columnPadding": 20},
        "header": {**ink, "labelFontSize": LAYOUT_FONT_PX, "labelLimit": 140},
        "text": {"fontSize": LAYOUT_FONT_PX},
    }
    return vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
