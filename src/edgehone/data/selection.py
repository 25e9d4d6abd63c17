"""Which classes count: some joined, some dropped, some only ignored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field

from edgehone.errors import UsageError
from edgehone.space import Settings


class Selection(Settings):
    """How the classes of a data set are used.

    Attributes:
        merge: new name to the classes that become it.
        drop: classes whose boxes do not count at all: what they show is background.
        ignore: classes whose boxes mark regions that neither train nor count as errors.
    """

    merge: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    drop: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @staticmethod
    def parse(merge: Iterable[str], drop: Iterable[str], ignore: Iterable[str]) -> Selection:
        """From the command line: ``--merge vehicle=car,van``; names separated by commas.

        Raises:
            UsageError: a merge without a name or without classes, or a class that is used twice.
        """
        joined: dict[str, tuple[str, ...]] = {}
        for text in merge:
            name, sign, parts = text.partition("=")
            classes = _names([parts])
            if not sign or not name.strip() or not classes:
                raise UsageError(f"classes are joined like --merge vehicle=car,van; got {text!r}")
            joined[name.strip()] = (*joined.get(name.strip(), ()), *classes)
        result = Selection(merge=joined, drop=_names(drop), ignore=_names(ignore))
        named = result.named()
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise UsageError(f"a class is merged, dropped or ignored, but only once; twice: {', '.join(twice)}")
        return result

    def named(self) -> list[str]:
        """Every class of the data that is mentioned."""
        return [*(name for parts in self.merge.values() for name in parts), *self.drop, *self.ignore]

    def check(self, known: Sequence[str]) -> None:
        """Refuse names that the data does not have.

        Raises:
            UsageError: with the names that it has.
        """
        unknown = sorted(set(self.named()) - set(known))
        if unknown:
            raise UsageError(
                f"--merge, --drop and --ignore name classes of the data ({', '.join(known)}); got {', '.join(unknown)}"
            )

    def renamed(self, name: str) -> str:
        """The class after merging."""
        return next((new for new, parts in self.merge.items() if name in parts), name)

    def remaining(self, known: Sequence[str]) -> tuple[str, ...]:
        """The classes that are left, in the order of the data's; a merged one takes the place of its first part."""
        left = (self.renamed(name) for name in known if name not in self.drop and name not in self.ignore)
        return tuple(dict.fromkeys(left))


def _names(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())
