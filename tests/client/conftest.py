"""Nodes for the tests of the client."""

from collections.abc import Iterator

import pytest

from tests.client.fakes import FakeNode, fake_node


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """Yield a node."""
    with fake_node() as serving:
        yield serving


@pytest.fixture
def other() -> Iterator[FakeNode]:
    """Yield another node."""
    with fake_node() as serving:
        yield serving
