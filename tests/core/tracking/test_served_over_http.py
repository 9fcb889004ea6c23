"""A registered model behind a real HTTP server, and a registry behind a real MLflow server."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

pytestmark = pytest.mark.slow
JSON = {"content-type": "application/json"}


def post(address: str, body: bytes, headers: dict) -> tuple[int, dict]:
    request = urllib.request.Request(f"{address}/invocations", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_server_answers_refuses_and_stops_cleanly(repository, register_echo):
    register_echo(2.0, 0.5)
    process = subprocess.Popen(
        [sys.executable, "-m", "core.cli", "serve", "echo", "--port", "0", "--max-mib", "8"],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        first = process.stdout.readline()
        address = re.search(r"http://[\d.:]+", first)
        assert address, first + process.stderr.read()
        address = address.group()
        assert "echo v1" in first

        assert post(address, b'{"text": "ab", "times": 2}', JSON) == (
            200,
            {"predictions": [{"text": "abab", "weight": 2.0}]},
        )
        two = b'{"dataframe_records": [{"text": "a"}, {"text": "b"}]}'
        assert [row["text"] for row in post(address, two, JSON)[1]["predictions"]] == ["a", "b"]
        for body, status, sentence in [
            (b"", 400, "empty"),
            (b'{"text": NaN}', 400, "NaN"),
            (b'{"text": "x", "times": 1e400}', 400, "1e400"),
            (b'{"text": 5}', 400, "expected text"),
            (b'{"text": "x", "tims": 5}', 400, "unknown field 'tims'"),
            (b'{"text": "x", "times": 50}', 400, "between 1 and 9"),
            (json.dumps({"dataframe_records": [{"text": "a"}] * 500_000}).encode(), 400, "at most 100"),
            (b'{"text": "' + b"x" * 100_000_000 + b'"}', 413, "at most 8 MiB"),
            (b'{"text": "bug"}', 500, "server's log"),
        ]:
            code, answer = post(address, body, JSON)
            assert code == status, answer
            assert sentence in answer["message"]
            assert "secret" not in answer["message"]
        assert post(address, b"text\nx\n", {"content-type": "text/csv"})[0] == 415
        for path in ("/ping", "/health"):
            assert urllib.request.urlopen(address + path, timeout=30).status == 200

        # A request that is being sent when the signal arrives is still answered.
        host, _, port = address.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        body = b'{"text": "last"}'
        connection.putrequest("POST", "/invocations")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body[:5])
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.send(body[5:])
        assert json.load(connection.getresponse())["predictions"][0]["text"] == "last"
        assert process.wait(timeout=60) == 0
        assert "a bug with a secret" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_serve_says_what_is_wrong(repository, register_echo):
    register_echo(2.0, 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "core.cli", "serve", "echo", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_registry_behind_a_real_mlflow_server(repository, register_echo, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{repository / 'mlflow.db'}"]
    store += ["--artifacts-destination", str(repository / "served artifacts")]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *store, "--port", str(port), "--workers", "1"],
        cwd=repository,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        start_new_session=True,
    )
    try:
        uri = f"http://127.0.0.1:{port}"
        for _ in range(1200):  # a busy machine takes its time
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.25)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        from core.tracking import list_models, local_model, rollback

        assert register_echo(1.0, 0.5).alias == "champion"
        assert register_echo(2.0, 0.6).alias == "champion"
        assert rollback("echo") == 1
        assert [row["aliases"] for row in list_models(repository)] == [[], ["champion"]]
        folder, version = local_model("echo")
        assert version == 1
        assert (folder / "artifacts" / "model" / "model.safetensors").is_file()
        assert (repository / "served artifacts").is_dir()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
