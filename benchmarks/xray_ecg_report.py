"""What a training step costs with low-rank adapters in the text tower, beside training it whole.

    python benchmarks/xray_ecg_report.py [--text minilm] [--batch 16] [--tokens 64] [--steps 5]

The step: small film and ECG towers, the text tower on random tokens, MoRE's loss, backward, AdamW. Each way runs in a
process of its own; memory is the peak of that process less what it held before the model was built. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

# Started as a file, this folder leads the search path.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
WAYS = {
    "whole text tower": None,
    "LoRA, rank 16, biases too": {"rank": 16, "alpha": 8.0, "dropout": 0.1, "bias": "all"},
    "LoRA, rank 4, no biases": {"rank": 4, "alpha": 8.0, "dropout": 0.1, "bias": "none"},
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", default="minilm", help="minilm, or a local transformers folder")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--way", choices=tuple(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options)))
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.threads} thread(s); torch "
        f"{version('torch')}, peft {version('peft')}; text {options.text}, batch {options.batch}, "
        f"{options.tokens} tokens\n"
    )
    print("| text tower | trained parameters | ms a step (CPU time) | peak memory, MiB | to save, MiB |")
    print("|---|---:|---:|---:|---:|")
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {way} | {found['trained']:,} of {found['all']:,} ({found['trained'] / found['all']:.1%}) | "
            f"{found['ms']:.0f} | {found['mib']:.0f} | {found['saved']:.1f} |",
            flush=True,
        )


def measure(options: argparse.Namespace) -> dict[str, float]:
    """One way: processor time of steps after one to warm up, and peak memory."""
    import torch

    from medical.alignment.model.lora import add_lora, trained_parameters
    from medical.alignment.model.towers import Architecture, Towers, build_text
    from medical.alignment.objective import Alignment

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = build_text(
        options.text, vocabulary=1000, pad=0, length=options.tokens, width=64, layers=2, heads=4
    )
    lora = WAYS[options.way]
    if lora is not None:
        text = add_lora(text, **lora)
    trained, whole = trained_parameters(text)
    sizes = Architecture(
        image_size=48, patch=12, ecg_patch=40, ecg_window=2, ecg_stem=48, width=48, depth=2, heads=4, dim=48,
        head_hidden=96, head_norm="layer", attention_drop=(0.0, 0.0),
    )  # fmt: skip
    towers, alignment = Towers(sizes, text).train(), Alignment("more", width=48)
    parameters = [p for p in [*towers.parameters(), *alignment.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    count = options.batch
    batch = {
        "film": torch.randint(0, 255, (count, 48, 48), dtype=torch.uint8),
        "signal": torch.randn(count, 12, 1000),
        "ids": torch.randint(5, 900, (count, options.tokens)),
        "mask": torch.ones(count, options.tokens, dtype=torch.bool),
        "present": torch.ones(count, 3, dtype=torch.bool),
    }

    def step() -> None:
        rows, present = towers(batch)
        loss = alignment(rows, present)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    start = time.process_time()
    for _ in range(options.steps):
        step()
    seconds = (time.process_time() - start) / options.steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    saved = (trained if lora is not None else whole) * 4 / 2**20
    return {"trained": trained, "all": whole, "ms": 1000 * seconds, "mib": peak / 1024, "saved": saved}


if __name__ == "__main__":
    main()
