"""Serve one model folder over HTTP: MLflow's scoring app behind strict JSON and a size limit.

Run as ``python -P -m core.tracking.server FOLDER`` with ``PYTHONPATH=FOLDER/code``: the process then uses
the copy of this module, and of everything else, that travels with the model, and needs no repository.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from pathlib import Path

from core.errors import KindredError, ServingError
from core.tracking.guard import RequestGuard
from core.tracking.request import named_columns
from core.tracking.store import quiet_mlflow

DEFAULT_MIB = 8.0


def main() -> int:
    """Command line: load FOLDER, serve until SIGTERM or Ctrl-C, answer what is in flight, exit with 0."""
    parser = argparse.ArgumentParser(prog="core.tracking.server", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--label", default="model")
    parser.add_argument("--max-mib", type=float, default=None)
    options = parser.parse_args()
    quiet_mlflow()
    try:
        return serve(options.folder, options.host, options.port, options.label, options.max_mib)
    except KindredError as error:
        print(f"kindred: {error}", file=sys.stderr)
        return 2


def serve(folder: Path, host: str, port: int, label: str, max_mib: float | None) -> int:
    """Load the model, bind the port, run."""
    bound = _bind(host, port)
    import mlflow.pyfunc
    import uvicorn
    from mlflow.pyfunc import scoring_server

    model = mlflow.pyfunc.load_model(str(folder))
    schema, wide = model.metadata.get_input_schema(), model.metadata.get_params_schema()
    columns = named_columns(schema)
    params = [one.name for one in wide.params] if wide is not None else []
    own = ((model.metadata.metadata or {}).get("kindred") or {}).get("max_request_mib", DEFAULT_MIB)
    limit = int((max_mib if max_mib is not None else own) * 2**20)
    guard = RequestGuard(scoring_server.init(model), columns=columns, params=params, limit=limit)
    config = uvicorn.Config(
        guard, log_level="warning", limit_concurrency=128, timeout_graceful_shutdown=30, lifespan="off"
    )
    server = uvicorn.Server(config)
    # uvicorn repeats the signal when it has shut down; with a handler of ours in place the exit status is 0.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: setattr(server, "should_exit", True))
    bound.listen(2048)  # from here on a client waits instead of being refused
    address = f"http://{host}:{bound.getsockname()[1]}"
    print(f"serving {label} at {address}/invocations (health: {address}/ping). Stop with Ctrl-C.", flush=True)
    server.run(sockets=[bound])
    return 0


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise ServingError(
            f"cannot listen on {host} port {port}", seen=str(error), remedy="use another --port"
        ) from None
    os.set_inheritable(bound.fileno(), True)
    return bound


if __name__ == "__main__":
    sys.exit(main())
