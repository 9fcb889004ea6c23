"""How a served model bears a load, and whether an answer is ever wrong, mixed up or lost when the server is stopped.

    python benchmarks/serving.py [--model NAME[@ALIAS]] [--clients 8] [--requests 1000]

Serves a registered model, or, without ``--model``, a tiny one that is registered in a temporary folder. The server
runs `core.tracking.server`, as ``kindred serve`` does, from a copy of the model's folder, in another working folder,
without the environment's links to this repository: it sees only what travels with the model. Every request is first
answered once in calm; under load each answer must be the same, to the last digit. In a second run the server gets
SIGTERM in the middle: a request must then be answered rightly, or fail: refused (not taken any more) or hung up on
(taken by the connection, not by the server). Prints a table; ``--json FILE`` keeps the numbers. Ends with 1 where
anything was wrong.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Started as a file, this folder leads the search path, and its files would pass for packages of their names.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

ROOT = Path(__file__).resolve().parents[1]
TINY = """
import mlflow
import numpy as np
from core.tracking import checked_artifacts, load_weights
from core.tracking.serving import Field, guarded, read_request

class Tiny(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        folder = checked_artifacts(context)["model"]
        digest = (folder / "digest.txt").read_text()
        self.weight = load_weights(folder / "model.safetensors", digest)["weight"].numpy()

    @guarded
    def predict(self, context, model_input, params=None):
        rows = read_request(model_input, [Field("name", "text"), Field("x", "array", shape=(64,))])
        return [{"name": row["name"], "y": np.tanh(self.weight @ row["x"]).tolist()} for row in rows]

mlflow.models.set_model(Tiny())
"""


@dataclass
class Outcome:
    """What came of the requests of one run: how each ended, how long the answered ones took, and the whole run."""

    ends: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    whole: float = 0.0
    examples: dict[str, str] = field(default_factory=dict)

    def note(self, end: str, example: str = "") -> None:
        self.ends[end] += 1
        self.examples.setdefault(end, example)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a registered model; a tiny one when left out")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from core.files import write_json
    from core.machine import machine

    where = machine("mlflow", "uvicorn", "torch")
    print(where, flush=True)
    with tempfile.TemporaryDirectory(prefix="kindred-serving-") as scratch:
        name, folder, bodies = registered(options.model) if options.model else tiny(Path(scratch) / "tiny")
        alone = Path(scratch) / "model"
        shutil.copytree(folder, alone)
        numbers: dict[str, Any] = {"model": name, "clients": options.clients}
        plan = [bodies[at % len(bodies)] for at in range(options.requests)]
        random.Random(0).shuffle(plan)
        with Server(alone, Path(scratch)) as server:
            calm = {body: server.ask(body) for body in bodies}
            load = press(server, plan, calm, options.clients)
            numbers["load"] = summary(load)
            numbers["exit_after_load"] = server.stop()
        with Server(alone, Path(scratch)) as server:
            stopped = press(server, plan, calm, options.clients, stop_after=options.requests // 2)
            numbers["stopped"] = summary(stopped)
            numbers["exit_after_sigterm"] = server.stop()
    report(numbers)
    if options.json:
        write_json(options.json, {"machine": where, **numbers})
    bad = set(load.ends) - {"answered"} | set(stopped.ends) - {"answered", "refused", "hung up on"}
    codes = (numbers["exit_after_load"], numbers["exit_after_sigterm"])
    return 1 if bad or codes != (0, 0) else 0


class Server:
    """The server's process, which sees the model's folder and the installed packages, and no repository."""

    def __init__(self, folder: Path, elsewhere: Path) -> None:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PYTHON", "MLFLOW", "KINDRED"))
        }
        packages = sysconfig.get_path("purelib")
        environment = {**kept, "PYTHONPATH": os.pathsep.join([str(folder / "code"), packages])}
        # Without -S, a development install of the repository would be found through its .pth file.
        command = [sys.executable, "-S", "-P", "-m"]
        probe = "import importlib.util as u; print(u.find_spec('pipelines'), u.find_spec('core').origin)"
        seen = subprocess.run(
            [*command[:-1], "-c", probe],
            env=environment,
            cwd=elsewhere,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert seen == ["None", str(folder / "code" / "core" / "__init__.py")], (
            f"the repository shows: {seen}"
        )
        self.log = (elsewhere / "server.log").open("w+")
        self.process = subprocess.Popen(
            [*command, "core.tracking.server", str(folder), "--port", "0"],
            env=environment,
            cwd=elsewhere,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        assert self.process.stdout is not None
        found = re.search(r"http://([\d.]+):(\d+)", self.process.stdout.readline())
        if not found:
            self.log.seek(0)
            raise SystemExit(f"the server did not start:\n{self.log.read()[-3000:]}")
        self.host, self.port = found[1], int(found[2])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def connect(self) -> http.client.HTTPConnection:
        """A connection that stays open from request to request."""
        return http.client.HTTPConnection(self.host, self.port, timeout=120)

    def ask(self, body: bytes) -> bytes:
        """One answer; the first one of a server must be a success."""
        connection = self.connect()
        send(connection, body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        assert answer.status == 200, content[:500]
        return content

    def stop(self) -> int:
        """SIGTERM, where it was not sent yet, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def send(connection: http.client.HTTPConnection, body: bytes) -> None:
    """Send one request; its answer is to be read."""
    connection.request("POST", "/invocations", body, {"content-type": "application/json"})


def press(
    server: Server, plan: list[bytes], calm: dict[bytes, bytes], clients: int, stop_after: int | None = None
) -> Outcome:
    """Work through ``plan`` with several clients at once; SIGTERM to the server after so many answers."""
    found, lock, todo = Outcome(), threading.Lock(), iter(plan)

    def client() -> None:
        connection = server.connect()
        while True:
            with lock:
                body = next(todo, None)
            if body is None:
                break
            start = time.perf_counter()
            sent = False
            try:
                send(connection, body)
                sent = True
                answer = connection.getresponse()
                content = answer.read()
            except http.client.IncompleteRead as error:
                end, example = "cut off", repr(error)
            except (OSError, http.client.HTTPException) as error:
                end, example = "hung up on" if sent else "refused", type(error).__name__
            else:
                right = answer.status == 200 and content == calm[body]
                end = (
                    "answered" if right else "refused" if answer.status == 503 else f"wrong ({answer.status})"
                )
                example = "" if right else content[:200].decode(errors="replace")
            took = time.perf_counter() - start
            if end != "answered":
                connection.close()
            with lock:
                found.note(end, example)
                if end == "answered":
                    found.seconds.append(took)
                    if found.ends["answered"] == stop_after:
                        server.process.send_signal(signal.SIGTERM)
        connection.close()

    start = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.whole = time.perf_counter() - start
    return found


def summary(found: Outcome) -> dict[str, Any]:
    """Numbers of a run."""
    ordered = sorted(found.seconds)
    numbers: dict[str, Any] = {
        f"p{q}_ms": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * q // 100)], 2)
        for q in (50, 95, 99)
    }
    numbers["per_second"] = round(len(ordered) / found.whole, 1)
    numbers["ends"] = dict(found.ends)
    numbers["examples"] = {end: example for end, example in found.examples.items() if example}
    return numbers


def report(numbers: dict[str, Any]) -> None:
    """The table."""
    load, stopped = numbers["load"], numbers["stopped"]
    rows = {name.replace("_", " "): load[name] for name in ("p50_ms", "p95_ms", "p99_ms", "per_second")}
    rows["requests"] = ", ".join(f"{n} {end}" for end, n in load["ends"].items())
    rows["requests, SIGTERM in the middle"] = ", ".join(f"{n} {end}" for end, n in stopped["ends"].items())
    rows["exit codes"] = f"{numbers['exit_after_load']}, {numbers['exit_after_sigterm']}"
    print(f"\nmodel {numbers['model']}, {numbers['clients']} clients\n\n| measure | value |\n| --- | ---: |")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    for examples in (load["examples"], stopped["examples"]):
        for end, example in examples.items():
            print(f"{end}: {example}")


def registered(reference: str) -> tuple[str, Path, list[bytes]]:
    """A registered model, its folder, and a request for each row of its input example."""
    from core.tracking import local_model

    name, _, alias = reference.partition("@")
    folder, version = local_model(name, alias or "champion")
    import mlflow

    example = mlflow.models.Model.load(str(folder)).load_input_example(str(folder))
    rows = json.loads(example.to_json(orient="records"))
    kept = [{key: value for key, value in row.items() if value is not None} for row in rows]
    return f"{name} v{version}", folder, [json.dumps({"dataframe_records": [row]}).encode() for row in kept]


def tiny(home: Path) -> tuple[str, Path, list[bytes]]:
    """A model of one matrix, registered in a temporary repository, and 100 different requests."""
    import numpy as np
    import pandas as pd
    import torch

    from core.tracking import local_model, register, save_weights
    from core.tracking.serving import Field, request_signature

    (home / "pipelines").mkdir(parents=True)
    (home / "pyproject.toml").touch()
    shutil.copy(ROOT / "requirements.lock", home)
    shutil.copytree(ROOT / "core", home / "core", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "tiny.py").write_text(TINY)
    (home / "model").mkdir()
    draw = np.random.default_rng(0)
    weight = torch.from_numpy(draw.normal(size=(64, 64)))
    digest = save_weights(home / "model" / "model.safetensors", {"weight": weight})
    (home / "model" / "digest.txt").write_text(digest)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    rows = [{"name": f"request {at}", "x": draw.normal(size=64).round(6).tolist()} for at in range(100)]
    register(
        "tiny",
        model_code=home / "tiny.py",
        artifacts={"model": home / "model"},
        weights=home / "model" / "model.safetensors",
        packages=["core"],
        requirements=["safetensors", "torch"],
        signature=request_signature([Field("name", "text"), Field("x", "array", shape=(64,))]),
        input_example=pd.DataFrame(rows[:2]),
        result={
            "pipeline": "tiny", "title": "Tiny", "source": "demo", "demo": True, "data_digest": "0",
            "primary": {"name": "none"}, "metrics": {"none": {"label": "none", "value": 0.0}},
        },
        root=home,
    )  # fmt: skip
    folder, _ = local_model("tiny", root=home)
    return (
        "tiny (one 64 x 64 matrix)",
        folder,
        [json.dumps({"dataframe_records": [row]}).encode() for row in rows],
    )


if __name__ == "__main__":
    sys.exit(main())
