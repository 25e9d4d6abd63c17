"""Whoever installs edgehone installs permissive licences only, through every dependency of a dependency."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PERMISSIVE = re.compile(r"\b(MIT|0?BSD|FreeBSD|Apache|Zlib|CC0|BSL-1\.0)\b|BSD-\d", re.IGNORECASE)
COPYLEFT = re.compile(r"\b(A?GPL|LGPL|GNU|EUPL|SSPL|MPL|Mozilla|CDDL|EPL)", re.IGNORECASE)

OTHER = {
    "typing-extensions": "PSF-2.0, permissive; needed by pydantic and torch themselves",
    "shellingham": "ISC, the same terms as BSD-2-Clause; typer's shell detection",
}
"""Licences beyond MIT, BSD and Apache that were looked at, with the reason why they stay."""


def licence(found: Distribution) -> str:
    """What a distribution declares: expression, else classifiers, else the first line of the free text."""
    declared = found.metadata
    classifiers = [c for c in declared.get_all("Classifier") or [] if c.startswith("License ::")]
    text = (declared.get("License") or "").strip().splitlines()
    return declared.get("License-Expression") or "; ".join(classifiers) or (text[0] if text else "undeclared")


def installed_dependencies() -> dict[str, Distribution]:
    """Every distribution that a plain installation of edgehone brings, by name."""
    found: dict[str, Distribution] = {}
    pending = ["edgehone"]
    while pending:
        name = canonicalize_name(pending.pop())
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # a requirement of another platform, which pip did not install here
        for text in found[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(requirement.name)
    del found["edgehone"]
    return found


DEPENDENCIES = installed_dependencies()


def test_the_dependencies_are_found() -> None:
    assert {"torch", "numpy", "pydantic", "onnxruntime"} <= set(DEPENDENCIES)


@pytest.mark.parametrize("name", sorted(DEPENDENCIES))
def test_dependency_is_permissive(name: str) -> None:
    declared = licence(DEPENDENCIES[name])
    assert not COPYLEFT.search(declared), f"{name} is {declared}: edgehone takes MIT, BSD or Apache only"
    assert PERMISSIVE.search(declared) or name in OTHER, (
        f"{name} is {declared}: look at it, then add it to OTHER or drop it"
    )


def test_exceptions_are_still_needed() -> None:
    stale = set(OTHER) - set(DEPENDENCIES)
    assert not stale, f"no longer installed with edgehone, so remove from OTHER: {sorted(stale)}"
