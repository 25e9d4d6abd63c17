"""Data sets: readers, repair, splits, the embedded set, and the cache that training reads from. No torch."""

from __future__ import annotations

from edgehone.data.dataset import Dataset, Finding, Sample
from edgehone.data.picture import ImageSource, read_image
from edgehone.data.reading import read_dataset
from edgehone.data.selection import Selection

__all__ = ["Dataset", "Finding", "ImageSource", "Sample", "Selection", "read_dataset", "read_image"]
