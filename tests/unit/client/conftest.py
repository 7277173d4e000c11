"""A scripted PicWish: one submission that is accepted, one query that finds it finished."""

from __future__ import annotations

import pytest

from aiowatermark.testing import ScriptedTransport
from tests.support.picwish import ACCEPTED, FINISHED


@pytest.fixture
def transport() -> ScriptedTransport:
    """A transport whose jobs succeed at the first query."""
    return ScriptedTransport(submissions=[ACCEPTED], queries=[FINISHED])
