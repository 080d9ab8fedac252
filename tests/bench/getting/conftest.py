"""A web server, a patience for tests, and somebody who listens."""

import pytest

from bench.getting.download import Patience
from tests.bench.getting.server import Heard, Server


@pytest.fixture
def server():
    """A `Server`, gone after the test."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def heard():
    """A `Heard`."""
    return Heard()


@pytest.fixture
def patience():
    """Gives up after four attempts and 0.4 s of silence."""
    return Patience(attempts=4, first=0.01, longest=0.02, silence=0.4)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """A proxy of the machine has no part in these tests."""
    monkeypatch.setenv("no_proxy", "*")
