"""Colours that people with any colour vision tell apart, on light and on dark.

Source: Okabe and Ito, "Color Universal Design", 2008; its black and yellow are replaced because each vanishes
on one of the two grounds.
"""

from __future__ import annotations

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#a6761d", "#7f7f7f")


def series_colour(index: int) -> str:
    """``#rrggbb`` of a series or class; colours repeat after the ninth."""
    return SERIES[index % len(SERIES)]


def class_colour(index: int) -> tuple[int, int, int]:
    """:func:`series_colour` as ``(red, green, blue)``, 0 to 255."""
    value = int(series_colour(index)[1:], 16)
    return (value >> 16, value >> 8 & 255, value & 255)
