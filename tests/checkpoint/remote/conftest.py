"""A server on the loopback, a file that is longer than what comes at once, and clocks that nobody waits for."""

import random

import pytest
from loopback import serving

from vqcheck.checkpoint.remote import web_requests
from vqcheck.checkpoint.remote.address import Address
from vqcheck.checkpoint.remote.open import open_remote
from vqcheck.checkpoint.remote.transfers import Limits, with_transfers

LONG = random.Random(1).randbytes(3_000_000)
"""The content of a remote file."""


@pytest.fixture
def server():
    with serving(files={"/long.bin": LONG, "/short.bin": LONG[:1000], "/empty.bin": b""}) as served:
        yield served


@pytest.fixture
def waits(monkeypatch):
    """Note how long is waited between two tries, without waiting."""
    asked = []
    monkeypatch.setattr(web_requests, "sleep", asked.append)
    return asked


@pytest.fixture(autouse=True)
def _no_waiting(waits):  # noqa: ARG001 - what it does is wanted, not what it gives
    with with_transfers(limits=Limits(silence=5)):
        yield


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch, tmp_path):
    """Leave the proxies and logins of whoever runs the tests out."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def opened(server):
    """Open a file of the server, by the path on it."""
    files = []

    def open_it(path="/long.bin", login=""):
        files.append(open_remote(Address(server.url.replace("//", f"//{login}") + path)))
        return files[-1]

    yield open_it
    for file in files:
        file.close()
