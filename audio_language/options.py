"""Short evaluations of the two options: CWCL against a locked text tower, and scoring of long recordings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audio_language.batches import SingleClips
from audio_language.data.clip import labels_of
from audio_language.data.store import AudioStore
from audio_language.embed import SoundModel
from audio_language.features import spectrograms
from audio_language.locked import LockedTraining, Objective
from audio_language.long_audio import LongAudioScorer
from audio_language.model.clap import TemporalClap
from audio_language.prompts import tag_prompts, words
from audio_language.scores import top1
from core.learning.determinism import generator
from core.learning.fit import fit
from core.learning.sampler import StepBatches, StepSampler

CLIPS = 6  # of a long recording


def locked_accuracy(
    base: SoundModel,
    store: AudioStore,
    objective: Objective,
    *,
    steps: int = 80,
    batch_size: int = 64,
    sharpness: float = 1.0,
    seed: int = 0,
    **fitting: Any,
) -> float:
    """ZSTE1 (0 to 1) of a new audio tower that was trained against the base's text tower.

    Batches hold several clips of a class, so that plain contrast (``clip``) meets false negatives.
    """
    net = copy.deepcopy(base.net)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = TemporalClap(base.net.config)
    for part in ("audio_model", "audio_projection"):
        getattr(net.clap, part).load_state_dict(getattr(fresh.clap, part).state_dict())
    train = store.indices("train")
    data = SingleClips(
        [store.clips[index] for index in train],
        spectrograms(base.front, (store[index] for index in train)),
        base.tokenizer,
    )
    module = LockedTraining(
        net, objective=objective, sharpness=sharpness, learning_rate=2e-3, warmup=0.1, schedule="cosine"
    )
    batches = StepBatches(
        data, StepSampler(len(train), min(batch_size, len(train)), seed), lambda batch: batch
    )
    fit(module, batches, steps=steps, seed=seed, gradient_clip=1.0, title=objective, **fitting)
    model = SoundModel(net, base.front, base.tokenizer, labels=base.labels)
    test = store.indices("test")
    labels = labels_of(store.clips)
    rows = model.embed_waves(store[index] for index in test)
    target = [labels.index(store.clips[index].label) for index in test]
    return float(top1(rows @ model.embed_texts(tag_prompts(labels)).T, target).mean())


def long_retrieval(
    model: SoundModel, store: AudioStore, *, recordings: int = 40, steps: int = 150, seed: int = 0
) -> dict[str, float]:
    """R@1 (0 to 1) of recordings of six clips by the sentence about what one part of them holds.

    Each test recording holds one sound that the text is about among five others. ``mean`` scores by the
    mean over clips, ``attention`` by a `LongAudioScorer` trained on training clips.
    """
    train = _recordings(model, store, "train", 4 * recordings, seed)
    test = _recordings(model, store, "test", recordings, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        scorer = LongAudioScorer(model.dim)
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=3e-3)
    rng = generator(seed, "long", "batches")
    for _ in range(steps):
        chosen = torch.from_numpy(rng.choice(len(train[0]), 16, replace=False))
        optimizer.zero_grad()
        scorer.loss(train[0][chosen], train[1][chosen]).backward()
        optimizer.step()
    with torch.no_grad():
        attended = scorer(test[0], test[1]).numpy()
    mean = torch.nn.functional.normalize(test[0].mean(dim=1), dim=-1) @ test[1].T
    target = np.arange(recordings)
    return {
        "mean": float(top1(mean.T.numpy(), target).mean()),
        "attention": float(top1(attended.T, target).mean()),
    }


def _recordings(
    model: SoundModel, store: AudioStore, split: str, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """(count, clips, d) embeddings of clips, (count, d) of the text about two of them, which is unique."""
    rng = generator(seed, "long", split)
    indices: Sequence[int] = store.indices(split)
    rows = model.embed_waves(store[index] for index in indices)
    names = [store.clips[index].label for index in indices]
    chosen, texts = [], []
    for _ in range(count):
        drawn = rng.choice(len(indices), CLIPS, replace=False)
        chosen.append(drawn)
        first, second = sorted(drawn[:2], key=lambda row: names[row])
        texts.append(f"{words(names[first])} and {words(names[second])}")
    text = torch.from_numpy(model.embed_texts(texts))
    return torch.from_numpy(rows[np.array(chosen)]), text
