"""How like each other two searches' data and models are, from facts that a good strategy hangs on."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from edgehone.analysis import Profile
from edgehone.data import Dataset
from edgehone.space import Settings

SCALES = {
    "side_p5": 1.0,
    "side_p50": 0.7,
    "side_p95": 1.0,
    "objects_a_picture": 1.5,
    "crowded": 0.25,
    "classes": 2.0,
    "imbalance": 3.0,
    "pictures": 2.0,
    "parameters": 1.0,
}
"""What counts as a distance of one: in octaves, but for ``crowded``, which is a share of the objects."""

OTHER_MODEL = 0.5
"""Distance between two models of the same size."""

EPSILON = 1e-4


class Likeness(Settings):
    """Facts of a data set and a model that searches are compared by.

    Attributes:
        side_p5: 5 % quantile of the objects' sqrt(area) as a share of the input's side; likewise 50 % and 95 %.
        objects_a_picture: mean, in the training split.
        crowded: share of the objects that overlap another by an IoU above 0.3.
        classes: number of them.
        imbalance: objects of the commonest class over those of the rarest.
        pictures: in the training split.
        parameters: of the network.
    """

    side_p5: float
    side_p50: float
    side_p95: float
    objects_a_picture: float
    crowded: float
    classes: int
    imbalance: float
    pictures: int
    parameters: int

    @staticmethod
    def of(profile: Profile) -> Likeness:
        """From what was measured before anything was trained."""
        data, size = profile.data, profile.data.sizes[0]

        def side(quantile: str) -> float:
            return round(size.side_px.get(quantile, 0.0) / size.input_size, 5)

        return Likeness(
            side_p5=side("5 %"),
            side_p50=side("50 %"),
            side_p95=side("95 %"),
            objects_a_picture=data.boxes_per_image_mean,
            crowded=data.crowded_fraction,
            classes=len(data.classes),
            imbalance=data.imbalance,
            pictures=data.splits["train"]["images"],
            parameters=profile.capacity.parameters,
        )

    def distance(self, other: Likeness, same_model: bool) -> float:
        """Euclidean, each fact on its scale."""
        parts = [
            (_on_scale(name, getattr(self, name)) - _on_scale(name, getattr(other, name))) / scale
            for name, scale in SCALES.items()
        ]
        return math.sqrt(sum(part**2 for part in parts) + (0.0 if same_model else OTHER_MODEL**2))

    def similarity(self, other: Likeness, same_model: bool) -> float:
        """1 for the same, 0.6 at a distance of one, 0.14 at two, towards 0."""
        return math.exp(-(self.distance(other, same_model) ** 2) / 2)


def model_name(model: str) -> str:
    """A model as a store knows it: the name of a built-in one, of a Darknet cfg the file's without its place."""
    return Path(model).name


def _on_scale(name: str, value: float) -> float:
    return value if name == "crowded" else math.log2(max(value, EPSILON))


class Identity(Settings):
    """By what a data set is known again, however it was split, relabelled or renamed.

    Attributes:
        name: of its folder or description.
        class_names: of its objects.
        labels: fingerprint of labels and splits.
        pictures: fingerprint of its pictures' names and sizes, whatever their labels and splits.
    """

    name: str
    class_names: tuple[str, ...]
    labels: str
    pictures: str

    @staticmethod
    def of(dataset: Dataset) -> Identity:
        """Of a data set that is open."""
        pictures = sorted(f"{sample.id} {sample.size}" for split in dataset.splits.values() for sample in split)
        digest = hashlib.sha256("\n".join(pictures).encode()).hexdigest()[:16]
        name = dataset.name.partition("?")[0]  # built-in scenes of other knobs are made of the same digits
        return Identity(name=name, class_names=dataset.class_names, labels=dataset.fingerprint(), pictures=digest)

    def same_data(self, other: Identity) -> bool:
        """One sign is enough: a store must not answer with what was learned from the very same data.

        A name is a sign where a class is shared, too: many folders are named ``data``.
        """
        named = self.name == other.name and not set(self.class_names).isdisjoint(other.class_names)
        return named or self.labels == other.labels or self.pictures == other.pictures
