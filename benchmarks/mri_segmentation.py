"""How fast a pretraining step is on this machine, beside the same step in plain MONAI and a dense loss.

    python benchmarks/mri_segmentation.py [--size 96] [--volumes 4] [--steps 8]

The step: draw slices, make two augmentations of each, encode 3 x volumes x 4 slices with the published six-level
network, GD loss, backward, Adam. The comparison augments image by image with MONAI's dictionary transforms and computes
the loss from the whole similarity matrix with masks; the network is the same. Each side runs in a process of its own;
memory is the peak of that process less what it held before the first step. Prints a table.
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
from typing import Any

# Started as a file, this folder leads the search path.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
PARTS, TEMPERATURE = 4, 0.1


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--volumes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", choices=("kindred", "monai"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options)))
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.threads} thread(s); "
        f"torch {version('torch')}, monai {version('monai')}; {options.volumes * PARTS} slices of {options.size}\n"
    )
    print(
        "| | slices/s (CPU time) | loader, share of a step | peak memory of steps, MiB |\n|---|---:|---:|---:|"
    )
    for side in ("kindred", "monai"):
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"| {side} | {found['rate']:.1f} | {found['loader']:.1%} | {found['mib']:.0f} |", flush=True)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """One side: processor seconds of steps after two to warm up, and peak memory."""
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    batch, encode, loss = (kindred if options.side == "kindred" else monai)(options)
    parameters = list(encode.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    loading = 0.0
    before = peak()
    for step in range(options.steps + 2):
        if step == 2:
            start, loading = time.process_time(), 0.0
        mark = time.process_time()
        views, partition, volume = batch(step)
        loading += time.process_time() - mark
        optimizer.zero_grad()
        loss(encode(views), partition, volume).backward()
        optimizer.step()
    seconds = time.process_time() - start
    rate = options.steps * options.volumes * PARTS / seconds
    return {"rate": rate, "loader": loading / seconds, "mib": peak() - before}


def peak() -> float:
    """Largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def slices(options: argparse.Namespace) -> Any:
    """Ten volumes of noise as prepared slices."""
    import numpy as np

    from medical.mri.data.case import Case
    from medical.mri.prepared import NO_LABEL, Prepared

    images = np.random.default_rng(0).random((120, options.size, options.size), dtype=np.float32)
    cases = tuple(Case(str(n), str(n), "", split="train") for n in range(10))
    return Prepared(cases, ("a",), images, np.full(images.shape, NO_LABEL, np.uint8), (12,) * 10, None)


def network(options: argparse.Namespace) -> tuple[Any, Any]:
    """The published encoder and head, as ours are built."""
    from medical.mri.learn.train import fresh_unet
    from medical.mri.model import Architecture, global_head

    architecture = Architecture((options.size, options.size), 2, head="mean")
    return fresh_unet(architecture), global_head(architecture)


def kindred(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """(step -> views, partition, volume; encoder with head; loss) of this repository."""
    import torch

    from medical.mri.global_loss import gd
    from medical.mri.learn.batches import pretrain_batches

    net, head = network(options)
    made = pretrain_batches(slices(options), range(10), views="global", volumes=options.volumes, parts=PARTS)

    def batch(step: int) -> tuple[Any, Any, Any]:
        found = made(step)
        return found["views"].flatten(0, 1), found["partition"], found["volume"]

    def loss(rows: Any, partition: Any, volume: Any) -> Any:
        return gd(*rows.chunk(3), partition, volume, temperature=TEMPERATURE)

    return batch, torch.nn.Sequential(features_of(net.encoder), head), loss


def monai(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The same three, in plain MONAI and torch."""
    import torch
    from monai.transforms import (
        Compose,
        RandScaleIntensityFixedMean,
        RandShiftIntensity,
        RandSpatialCrop,
        Resize,
        ThresholdIntensity,
    )

    from medical.mri.learn.batches import PartitionSampler, SliceSet

    net, head = network(options)
    net = net.to(memory_format=torch.contiguous_format)
    prepared = slices(options)
    sampler = PartitionSampler(prepared, range(10), volumes=options.volumes, parts=PARTS)
    dataset = SliceSet(prepared, parts=PARTS)
    crop = round(options.size * 100 / 192)
    augment = Compose(
        [
            RandSpatialCrop((crop, crop), random_size=False),
            Resize((options.size, options.size), mode="bilinear"),
            RandScaleIntensityFixedMean(prob=1, factors=0.3, fixed_mean=True),
            RandShiftIntensity(0.3, prob=1),
            ThresholdIntensity(0, above=True, cval=0),
            ThresholdIntensity(1.5, above=False, cval=1.5),
        ]
    )

    def batch(step: int) -> tuple[Any, Any, Any]:
        found = dataset.__getitems__(sampler.batch(step))
        views = [torch.stack([torch.as_tensor(augment(x)) for x in found["image"]]) for _ in range(2)]
        return torch.cat([found["image"], *views]), found["partition"], found["volume"]

    def loss(rows: Any, partition: Any, volume: Any) -> Any:
        z = torch.nn.functional.normalize(rows, dim=1)
        count = len(partition)
        similarity = (z @ z.T / TEMPERATURE).exp()
        part, owner = partition.repeat(3), volume.repeat(3)
        item, original = torch.arange(count).repeat(3), torch.arange(3 * count) < count
        alike = part[:, None] == part
        negative = (similarity * ~alike).sum(1)
        own = (item[:, None] == item) & ~torch.eye(3 * count, dtype=torch.bool)
        across = alike & (owner[:, None] != owner) & original[:, None] & original
        pairs = own | across
        terms = -(similarity / (similarity + negative[:, None])).log()
        return 2 * terms[pairs].mean()

    return batch, torch.nn.Sequential(features_of(net.encoder), head), loss


def features_of(encoder: Any) -> Any:
    """The coarsest map of an encoder, as a module."""
    import torch

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, x: Any) -> Any:
            return self.encoder.features(x)

    return Module()


if __name__ == "__main__":
    main()
