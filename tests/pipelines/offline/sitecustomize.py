"""Loaded by every process of a pipeline's run in the tests: only this machine may be talked to, and tries are noted."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

HERE = ("127.", "::1", "localhost")


def _refuse(host: Any) -> None:
    with Path(os.environ["KINDRED_TEST_NETWORK_LOG"]).open("a") as log:
        log.write(f"{host}\n")
    raise OSError(f"the network is blocked: {host}")


class Blocked(socket.socket):
    """A socket that connects to nothing outside."""

    def connect(self, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(HERE):
            _refuse(address[0])
        super().connect(address)

    def connect_ex(self, address: Any) -> int:
        if isinstance(address, tuple) and not str(address[0]).startswith(HERE):
            _refuse(address[0])
        return super().connect_ex(address)


def _lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if name and not name.startswith((*HERE, "0.0.0.0")) and name != socket.gethostname():
        _refuse(name)
    return _real_lookup(host, *args, **kwargs)


if "KINDRED_TEST_NETWORK_LOG" in os.environ:
    _real_lookup = socket.getaddrinfo
    socket.socket = Blocked  # type: ignore[misc]
    socket.getaddrinfo = _lookup
