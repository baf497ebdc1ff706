"""Fixtures that several tests of the modes share."""

from typing import Any

import pytest

from ssast.runs.features import Pooler


@pytest.fixture
def pooled(monkeypatch) -> list[str]:
    """The uids of the recordings that go through the base to be pooled, as they do."""
    seen: list[str] = []
    whole = Pooler.compute

    def watched(self: Pooler, source: Any) -> Any:
        for uid, values in whole(self, source):
            seen.append(uid)
            yield uid, values

    monkeypatch.setattr(Pooler, "compute", watched)
    return seen
