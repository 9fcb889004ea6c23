"""The training of a space, and the space before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.distributed import gather
from core.errors import ConfigError
from core.learning.determinism import derive_seed, seed_everything, torch_generator
from core.learning.fit import FitResult, fit
from core.learning.module import ContrastiveModule
from core.learning.sampler import StepBatches, StepSampler
from medical.alignment.augment import Augmentation
from medical.alignment.evaluate import embed, retrieval
from medical.alignment.learn.batches import AlignmentSet, same
from medical.alignment.model.lora import add_lora
from medical.alignment.model.towers import Architecture, Towers, build_text
from medical.alignment.objective import Alignment
from medical.alignment.prepared import Prepared
from medical.alignment.scores import pair_signs
from medical.alignment.space import Space
from medical.alignment.tokens import ReportTokenizer


class AlignmentModule(ContrastiveModule):
    """The towers and one of the four objectives.

    Args:
        towers, alignment: see there.
        modality_dropout: probability that a modality of a sample with three is hidden in a step; Symile learns its
            embeddings of absence from it.
        seed: of Symile's shuffles and of the dropout.
        **optimization: of `ContrastiveModule`.
    """

    idle_parts = True  # the tower of a modality that no item of a batch has

    def __init__(
        self,
        towers: Towers,
        alignment: Alignment,
        *,
        modality_dropout: float = 0.0,
        seed: int = 0,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        if not 0 <= modality_dropout < 1:
            raise ConfigError("modality_dropout", seen=modality_dropout, expected="a share in [0, 1)")
        self.towers, self.alignment = towers, alignment
        self.modality_dropout, self.seed = modality_dropout, seed

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of one step over the batches of all processes, and the scale."""
        rows, present = self.towers(batch)
        rows = [gather(part) for part in rows]
        present, groups = gather(present), gather(batch["groups"])
        # the same shuffles in every process: the generator depends on seed and step alone
        generator = torch_generator(self.seed, "shuffles", self.global_step)
        if self.modality_dropout > 0:
            present = drop_modalities(present, self.modality_dropout, generator)
        loss = self.alignment(rows, present, groups, generator=generator)
        if not loss.requires_grad:  # no pair in the whole batch: a step that changes nothing
            loss = loss + 0.0 * self.towers.heads["text"][0].weight.sum()
        both = present[:, 0] & present[:, 2]
        if int(both.sum()) > 1:
            self.watch(rows[0][both], rows[2][both])
        return {"loss": loss, "scale": self.alignment.scale().detach()}


def drop_modalities(present: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Hide one modality, drawn at random, in a share ``rate`` of the rows that have all three.

    >>> every = torch.ones(1000, 3, dtype=torch.bool)
    >>> kept = drop_modalities(every, 0.3, torch.Generator().manual_seed(0))
    >>> bool((kept.sum(1) >= 2).all()), 250 < int((kept.sum(1) == 2).sum()) < 350
    (True, True)
    """
    device = present.device
    chosen = torch.randint(3, (len(present),), generator=generator).to(device)
    hit = (torch.rand(len(present), generator=generator).to(device) < rate) & present.all(1)
    gone = torch.nn.functional.one_hot(chosen, 3).bool() & hit[:, None]
    return present & ~gone


def new_space(
    prepared: Prepared,
    *,
    encoder: str,
    length: int,
    text_width: int,
    text_layers: int,
    text_heads: int,
    lora: dict[str, Any] | None,
    architecture: dict[str, Any],
    objective: dict[str, Any],
    seed: int,
) -> Space:
    """The space before training; equal arguments give equal weights.

    Args:
        encoder: ``tiny``, ``minilm`` or a folder; lora: arguments of `add_lora`, None trains the encoder whole.
        length: most tokens of a text.
        architecture: of `Architecture`, but for what the preprocessing decides. objective: of `Alignment`.
    """
    seed_everything(derive_seed(seed, "text"))
    texts = [text for text in prepared.table["text"].to_numpy()[prepared.rows("train")] if text]
    if encoder == "tiny":
        tokenizer = ReportTokenizer.from_texts(texts, length=length)
    else:
        from core.encoders.text import model_home

        tokenizer = ReportTokenizer.from_folder(model_home(encoder), length=length)
    text = build_text(
        encoder, vocabulary=tokenizer.size, pad=tokenizer.pad, length=length, width=text_width, layers=text_layers,
        heads=text_heads,
    )  # fmt: skip
    if length > text.max_length:
        raise ConfigError(
            "model.text_length", seen=length, expected=f"at most {text.max_length} for this encoder"
        )
    if lora is not None:
        text = add_lora(text, **lora)
    before = prepared.preprocessing
    seed_everything(derive_seed(seed, "towers"))  # the same towers whatever the text side drew
    sizes = Architecture.from_json(
        Architecture().to_json()
        | architecture
        | {"image_size": before.image_size, "samples": before.samples, "mean": before.mean, "std": before.std}
    )
    cut = int((tokenizer.counts(texts) > length).sum()) if texts else 0
    facts = {"training_texts": len(texts), "texts_cut": cut}
    return Space(Towers(sizes, text), Alignment(width=sizes.dim, **objective), tokenizer, before, facts=facts)


def train_space(
    space: Space,
    prepared: Prepared,
    *,
    steps: int,
    batch_size: int,
    augmentation: Augmentation | None,
    modality_dropout: float,
    optimization: dict[str, Any],
    seed: int,
    validate_every: int | None = None,
    **fitting: Any,
) -> FitResult:
    """Train a space in place on the items of the training split that have two modalities.

    Args:
        optimization: of `ContrastiveModule`. validate_every: steps between measurements of retrieval on the
            validation split; None for none. **fitting: of `core.learning.fit.fit`.
    """
    items = AlignmentSet(prepared, prepared.rows("train"), space.tokenizer, augmentation=augmentation)
    sampler = StepSampler(len(items), min(batch_size, len(items)), seed)
    module = AlignmentModule(
        space.towers, space.alignment, modality_dropout=modality_dropout, seed=seed, **optimization
    )
    validate = None
    if validate_every is not None:

        def validate(_: Any, step: int) -> dict[str, float]:
            was = space.towers.training
            rows = prepared.rows("valid")
            found = retrieval(space, prepared, rows, embed(space, prepared, rows), samples=0)
            space.towers.train(was)
            return {"valid_mrr": float(np.mean([one.mrr for one in found]))} if found else {}

    result = fit(
        module, StepBatches(items, sampler, same), steps=steps, seed=seed, validate=validate,
        validate_every=validate_every, **fitting,
    )  # fmt: skip
    if space.alignment.signs is not None:
        rows = prepared.rows("valid")
        found = embed(space, prepared, rows)
        space.alignment.signs.copy_(torch.from_numpy(pair_signs(found.stack(), found.present)))
    return result
