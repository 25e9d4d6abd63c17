"""What a training can decide depends on its length: short ones cannot tell how much augmentation a long one takes."""

from __future__ import annotations

from edgehone.space import SearchSpace, flatten

AUGMENTATION = "augmentation"


def without_augmentation(space: SearchSpace) -> SearchSpace:
    """The part of a space that short trainings can decide; all of it, if there is nothing else.

    Augmentation stays at what the space prefers, for every strategy alike.
    """
    base = space.preferred()
    narrow = space.fix(base, [path for path in flatten(base) if path.startswith(f"{AUGMENTATION}.")])
    return narrow if narrow.active(base) else space
