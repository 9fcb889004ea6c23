"""The block on the network that every pipeline's test runs under does block, and notes who tried."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OFFLINE = Path(__file__).parents[1] / "pipelines" / "offline"
TRIES = """
import socket
listening = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listening.getsockname()).close()
for call in (
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: socket.getaddrinfo("example.org", 80),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect_ex(("192.0.2.2", 53)),
):
    try:
        call()
    except OSError as error:
        print(error)
"""


def test_the_block_refuses_and_notes(tmp_path):
    log = tmp_path / "network.log"
    environment = {**os.environ, "PYTHONPATH": str(OFFLINE), "KINDRED_TEST_NETWORK_LOG": str(log)}
    done = subprocess.run(
        [sys.executable, "-c", TRIES], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("the network is blocked") == 3
    assert log.read_text().split() == ["192.0.2.1", "example.org", "192.0.2.2"]
