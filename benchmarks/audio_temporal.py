"""How fast sounds are embedded on this machine, beside transformers' extractor and model in a loop.

    python benchmarks/audio_temporal.py [--model FOLDER | models:/audio_temporal@champion] [--hours 1]

Measures: a file of ``--hours`` at 44.1 kHz to a timeline (time, times real time, peak memory of a fresh
process); a batch of clips to embeddings, beside ``ClapFeatureExtractor`` and ``ClapModel`` with the same
weights, clip by clip, which is what a short script does; and how far two embeddings of one file are apart.
Prints a table; ``--json FILE`` keeps the numbers.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from core.machine import machine

sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

PACKAGES = ("torch", "torchaudio", "transformers", "numpy")
RATE = 44_100


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="outputs/audio_temporal/model", help="folder, or models:/NAME@ALIAS"
    )
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one-file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_file:
        follow(options)
        return
    print(f"{machine(*PACKAGES)}\n\n| measure | value |\n|---|---:|", flush=True)
    numbers: dict[str, Any] = {}
    for name, value in [*measure_file(options), *measure_batch(options)]:
        numbers[name] = value
        print(f"| {name} | {value:,.3g} |", flush=True)
    if options.json:
        from core.files import write_json

        write_json(options.json, {"machine": machine(*PACKAGES), **numbers})


def measure_file(options: argparse.Namespace) -> list[tuple[str, float]]:
    """A long file in a process of its own, so that its memory is its own."""
    with tempfile.TemporaryDirectory(prefix="kindred-bench-") as folder:
        file = Path(folder) / "long.wav"
        write_long(file, options.hours)
        command = [sys.executable, __file__, "--model", options.model, "--one-file", str(file)]
        paths = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
        )
    seconds, busy, peak, apart = (float(text) for text in done.stdout.split()[-4:])
    return [
        (f"{options.hours:g} h at 44.1 kHz to a timeline, s", seconds),
        ("the same, CPU time, s", busy),
        ("times real time", options.hours * 3600 / seconds),
        ("times real time, by CPU time", options.hours * 3600 / busy),
        ("peak memory of that process, MiB", peak),
        ("two embeddings of one file, largest difference", apart),
    ]


def follow(options: argparse.Namespace) -> None:
    """In the fresh process: seconds, CPU seconds, peak MiB, difference of two embeddings of the first minute."""
    from audio_language.cli import open_model
    from audio_language.timeline import timeline

    model = open_model(options.model)
    model.embed_waves([np.zeros(model.rate, np.float32)])
    start, busy = time.perf_counter(), time.process_time()
    timeline(model, options.one_file)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    import soundfile

    short = options.one_file.with_name("minute.wav")
    soundfile.write(short, soundfile.read(options.one_file, frames=60 * RATE)[0], RATE)
    apart = np.abs(model.embed_file(short) - model.embed_file(short)).max()
    print(seconds, busy, peak, apart)


def measure_batch(options: argparse.Namespace) -> list[tuple[str, float]]:
    """Clips a second: ours in batches, transformers' extractor and model clip by clip, with equal weights."""
    import torch
    from transformers import ClapFeatureExtractor

    from audio_language.cli import open_model

    model = open_model(options.model)
    front, rng = model.front.settings, np.random.default_rng(0)
    clips = [0.1 * rng.standard_normal(front.samples).astype(np.float32) for _ in range(options.clips)]
    extractor = ClapFeatureExtractor(
        feature_size=front.mels, sampling_rate=front.sample_rate, hop_length=front.hop, max_length_s=front.seconds,
        fft_window_size=front.window, frequency_min=front.low, frequency_max=front.high, truncation="rand_trunc",
    )  # fmt: skip
    extractor.nb_max_samples = front.samples
    model.embed_waves(clips[:32])
    start = time.process_time()  # of one thread; other programs then disturb less than on the clock
    ours = model.embed_waves(clips)
    own = len(clips) / (time.process_time() - start)
    start = time.process_time()
    rows = []
    with torch.no_grad():
        for clip in clips:
            features = extractor(clip, sampling_rate=front.sample_rate, return_tensors="pt")
            rows.append(model.net.audio(features["input_features"]))
    theirs = len(clips) / (time.process_time() - start)
    same = float(np.abs(torch.cat(rows).numpy() - ours).max())
    return [
        (f"clips of {front.seconds:g} s embedded a second of CPU", own),
        ("with transformers' extractor, clip by clip", theirs),
        ("times faster", own / theirs),
        ("largest difference of the embeddings", same),
    ]


def write_long(path: Path, hours: float) -> None:
    """Noise of changing level, written minute by minute."""
    import soundfile

    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 1, subtype="PCM_16") as out:
        for minute in range(max(1, round(hours * 60))):
            out.write((0.02 + 0.1 * (minute % 3)) * rng.standard_normal(60 * RATE).clip(-3, 3))


if __name__ == "__main__":
    main()
