"""Train the toy in child processes, each killed with SIGKILL after a random time, until one may end."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from toy_training import Toy, digest, toy_batches

from core.learning.fit import fit


def train(folder: str, steps: int, pause: float) -> None:
    torch.set_num_threads(1)
    module = Toy()
    result = fit(
        module, toy_batches(pause), steps=steps, seed=3, checkpoint_dir=folder, every_n_steps=1, log_every=10,
        progress=False,
    )  # fmt: skip
    print(
        f"digest {digest(module)} from {result.resumed_from_step} records {len(result.history)}", flush=True
    )


def wait_for_progress(folder: Path) -> None:
    """Until a checkpoint is newer than all that are there now."""

    def newest() -> str:
        return max((path.name for path in folder.glob("*/step-*.ckpt")), default="")

    start, end = newest(), time.monotonic() + 120
    while newest() <= start and time.monotonic() < end:
        time.sleep(0.01)


def main(folder: str, steps: int, pause: float, kills: int) -> None:
    rng = random.Random(0)
    for attempt in range(kills + 1):
        child = os.fork()
        if child == 0:
            train(folder, steps, pause)
            os._exit(0)
        if attempt < kills:
            wait_for_progress(Path(folder))
            time.sleep(rng.uniform(0, 0.3))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(f"attempt {attempt} status {status}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
