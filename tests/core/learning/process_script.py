"""Train on two processes, once for each stop given: the step at which the first raises (0: none)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from toy_training import Plain, Toy, digest, toy_batches

from core.distributed import world_size
from core.learning.fit import fit


def train(folder: str, strategy: str, stop: int) -> None:
    def logger(record: dict[str, float]) -> None:
        if record["step"] == stop:
            raise InterruptedError

    module = Plain() if strategy == "ddp" else Toy()
    result = fit(
        module, toy_batches(), steps=12, seed=3, checkpoint_dir=folder, every_n_steps=3, log_every=1,
        devices=2, strategy=strategy, logger=logger, progress=False,
    )  # fmt: skip
    assert world_size() == 1  # the helpers wait
    content = (
        ",".join(map(repr, module.layer.weight.flatten().tolist())) if strategy == "ddp" else digest(module)
    )
    print(f"weights {content} from {result.resumed_from_step} records {len(result.history)}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number, stop in enumerate(map(int, sys.argv[3:])):
        folder = f"{sys.argv[1]}/{'whole' if number == 0 else 'stopped'}"
        try:
            train(folder, sys.argv[2], stop)
        except Exception as error:
            print("stopped" if "InterruptedError" in repr(error) + str(error) else repr(error), flush=True)
