"""What every test starts from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded pictures are kept apart from the user's, and no search is remembered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEHONE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("EDGEHONE_STORE", "none")
        yield
