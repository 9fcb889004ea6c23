"""What the trainings start from: a model (new, or local weights) and its vocabulary."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from audio_language.data.clip import Clip, labels_of
from audio_language.embed import SoundModel
from audio_language.model.build import tiny_config
from audio_language.model.clap import TemporalClap
from audio_language.model.folder import load_model
from audio_language.model.frontend import FrontEnd, FrontEndSettings
from audio_language.model.tokenizer import CaptionTokenizer
from audio_language.prompts import (
    CAPTIONS,
    COMBINED,
    CONNECTIVES,
    FIRST_SLOT,
    ORDER_PREFIX,
    OVERLAPS,
    SECOND_SLOT,
    words,
)

SCRATCH = "scratch"


def vocabulary_texts(clips: Iterable[Clip]) -> list[str]:
    """Every sentence whose words a model from scratch has to know."""
    chosen = list(clips)
    templates = [*CAPTIONS, COMBINED, FIRST_SLOT, SECOND_SLOT, ORDER_PREFIX]
    templates += [*CONNECTIVES.values(), *OVERLAPS.values()]
    plain = [text.replace("{0}", "").replace("{1}", "").replace("{}", "") for text in templates]
    return [*plain, *map(words, labels_of(chosen)), *(text for clip in chosen for text in clip.captions)]


def window_of(base: str, front_end: Mapping[str, Any]) -> tuple[int, float]:
    """(Hz, seconds) of a window of the model that will be trained."""
    if base == SCRATCH:
        return int(front_end["sample_rate"]), float(front_end["seconds"])
    model = load_model(base)
    return model.rate, model.seconds


def starting_model(
    clips: Iterable[Clip],
    *,
    base: str = SCRATCH,
    seed: int = 0,
    front_end: Mapping[str, Any] | None = None,
    width: int = 16,
    depths: Iterable[int] = (1, 1, 1),
    spec_size: int = 64,
    dim: int = 64,
    text_width: int = 64,
    text_layers: int = 3,
    text_length: int = 32,
    dropout: float = 0.0,
) -> SoundModel:
    """A small CLAP with random weights that knows the words of the clips; or the weights in folder ``base``.

    Args:
        clips: whose labels and captions give the vocabulary, and the labels for tagging.
        base: ``scratch``, or a folder (`audio_language.model.folder.load_model`), for which the rest is
            ignored.
        seed: of the weights. front_end: fields of `FrontEndSettings`.
        width, depths, spec_size, dim, text_width, text_layers, text_length, dropout: of `tiny_config`.

    Raises:
        CheckpointError: the folder is no model, or the front end and the tower do not fit each other.
    """
    import torch

    chosen = list(clips)
    if base != SCRATCH:
        model = load_model(base)
        model.labels = labels_of(chosen) or model.labels
        return model
    settings = FrontEndSettings(**(front_end or {}))
    tokenizer = CaptionTokenizer.from_captions(vocabulary_texts(chosen), length=text_length)
    config = tiny_config(
        vocabulary=tokenizer.size, mels=settings.mels, spec_size=spec_size, width=width, depths=tuple(depths),
        dim=dim, text_width=text_width, text_layers=text_layers, text_length=text_length, dropout=dropout,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = TemporalClap(config)
    return SoundModel(net, FrontEnd(settings), tokenizer, labels=labels_of(chosen))


def with_head(model: SoundModel, head: Mapping[str, Any] | None, seed: int) -> SoundModel:
    """A copy of the model with a new temporal head; without one where ``head`` is None."""
    import torch

    net = copy.deepcopy(model.net)
    if head is not None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net.add_head(**head)
    return SoundModel(net, model.front, model.tokenizer, labels=model.labels, prompt=model.prompt)
