"""CoCoSoDa: momentum contrast of code and text with soft augmentations.

Shi et al., "CoCoSoDa: Effective Contrastive Learning for Code Search", ICSE 2023, arXiv 2204.03293.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.distributed import gather
from core.errors import ConfigError
from core.learning.module import ContrastiveModule
from core.momentum import EmbeddingQueue, MomentumEncoder
from core.objectives.contrast import contrast

TERMS = (
    "inter_code_text",
    "inter_code_text_key",
    "inter_text_code",
    "inter_text_code_key",
    "intra_code",
    "intra_text",
)


class CoCoSoDa(ContrastiveModule):
    """One online encoder for code and text, two momentum encoders, four queues, six loss terms.

    With unit vectors c, n of code and text from the online encoder, and c', n' of their augmented keys from
    the momentum encoders, each term is an InfoNCE over the batch and one queue:

        inter: (c, n | Q_n)  (c, n' | Q_n')  (n, c | Q_c)  (n, c' | Q_c')
        intra: (c, c' | Q_c')  (n, n' | Q_n')

    and the loss is their mean. Order of a step: online forward, momentum update, keys, loss, enqueue (c and n
    from the online encoder, c' and n' from the momentum ones). Queues start empty and masked. Pairs of one
    group (equal code or equal query) are no negatives of each other. All processes see the gathered batch.

    Args:
        encoder: (ids, mask) -> (B, d), not normalised.
        queue_size: columns of each queue, a multiple of the batch size; 0 for none.
        momentum: of the momentum encoders. The published .999 suits 100,000 steps.
        temperature: tau.
        logit_scale_extra: the released code multiplies its logits by 20 once more (tau = .0035); 1 is the
            formula.
        intra: whether the two intra-modal terms take part.
        keys: False leaves momentum encoders and augmented keys out: InfoNCE over (c, n) and (n, c).
        chunks: sorts a batch by length and encodes it in so many parts, which saves padding.
        **optimization: of `ContrastiveModule`.

    A batch: see `code_search.learn.batches.PairBatches`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        queue_size: int = 1024,
        momentum: float = 0.999,
        temperature: float = 0.07,
        logit_scale_extra: float = 1.0,
        intra: bool = True,
        keys: bool = True,
        chunks: int = 1,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        if temperature <= 0 or logit_scale_extra <= 0 or queue_size < 0:
            raise ConfigError(
                "CoCoSoDa (temperature, logit_scale_extra, queue_size)",
                seen=(temperature, logit_scale_extra, queue_size),
                expected="> 0, > 0, >= 0",
            )
        if intra and not keys:
            raise ConfigError("CoCoSoDa: intra without keys", remedy="set intra to false, or keys to true")
        self.encoder = encoder
        self.scale = logit_scale_extra / temperature
        self.intra, self.keys, self.chunks = intra, keys, chunks
        self.code_momentum = MomentumEncoder(encoder, momentum) if keys else None
        self.text_momentum = MomentumEncoder(encoder, momentum) if keys else None
        names = ("code", "text", "code_key", "text_key") if keys else ("code", "text")
        width = int(encoder.dim)  # type: ignore[arg-type]
        self.queues = nn.ModuleDict(
            {name: EmbeddingQueue(width, queue_size) for name in names} if queue_size else {}
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Those of the encoder, where it has a say in them."""
        own = getattr(self.encoder, "parameter_groups", None)
        return own(self.optimization["lr"]) if own is not None else super().parameter_groups()

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss, and each term, of one step; then the queues take the batch in."""
        z = {
            name: encode(self.encoder, batch[name], batch[f"{name}_mask"], self.chunks)
            for name in ("code", "text")
        }
        if self.code_momentum is not None and self.text_momentum is not None:
            self.code_momentum.update()
            self.text_momentum.update()
            with torch.no_grad():
                z["code_key"] = encode(
                    self.code_momentum, batch["code_key"], batch["code_key_mask"], self.chunks
                )
                z["text_key"] = encode(
                    self.text_momentum, batch["text_key"], batch["text_key_mask"], self.chunks
                )
        z = {name: gather(rows) for name, rows in z.items()}
        groups = gather(batch["groups"]) if "groups" in batch else None
        pairs = [("code", "text"), ("code", "text_key"), ("text", "code"), ("text", "code_key")]
        pairs += [("code", "code_key"), ("text", "text_key")]
        used = [
            (name, anchor, other)
            for name, (anchor, other) in zip(TERMS, pairs)
            if other in z and (self.intra or name.startswith("inter"))
        ]
        found = {name: self._term(z[anchor], z[other], other, groups) for name, anchor, other in used}
        for name, queue in self.queues.items():
            queue.enqueue(z[name], groups)  # type: ignore[operator]
        self.watch(z["code"], z["text"])
        return {"loss": torch.stack(list(found.values())).mean(), **found}

    def _term(self, anchors: Tensor, others: Tensor, name: str, groups: Tensor | None) -> Tensor:
        queue: Any = dict(self.queues.items()).get(name)
        return contrast(
            anchors,
            others,
            scale=self.scale,
            row_groups=groups,
            queue=None if queue is None else queue.embeddings,
            queue_groups=None if queue is None or groups is None else queue.groups,
            queue_valid=None if queue is None else queue.valid,
            normalize=False,
        )


class FineTune(ContrastiveModule):
    """The stage after CoCoSoDa: cross entropy of text -> code in the batch, logits 20 * cosine, no queue.

    Args:
        encoder: (ids, mask) -> (B, d).
        scale: of the cosines; 20 in the published scripts.
        chunks, **optimization: as in `CoCoSoDa`.
    """

    def __init__(
        self, encoder: nn.Module, *, scale: float = 20.0, chunks: int = 1, **optimization: Any
    ) -> None:
        super().__init__(**optimization)
        self.encoder, self.scale, self.chunks = encoder, scale, chunks

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Those of the encoder, where it has a say in them."""
        own = getattr(self.encoder, "parameter_groups", None)
        return own(self.optimization["lr"]) if own is not None else super().parameter_groups()

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of one step."""
        code = encode(self.encoder, batch["code"], batch["code_mask"], self.chunks)
        text = encode(self.encoder, batch["text"], batch["text_mask"], self.chunks)
        code, text = gather(code), gather(text)
        groups = gather(batch["groups"]) if "groups" in batch else None
        self.watch(code, text)
        return {"loss": contrast(text, code, scale=self.scale, row_groups=groups, normalize=False)}


def encode(encoder: nn.Module, ids: Tensor, mask: Tensor, chunks: int = 1) -> Tensor:
    """Unit vectors (B, d) of ids (B, L); in ``chunks`` parts of like length, each cut to its longest row.

    >>> from core.encoders import StaticText
    >>> ids = torch.tensor([[1, 2, 3], [1, 0, 0]])
    >>> encoder = StaticText(4, 2)
    >>> torch.equal(encode(encoder, ids, ids > 0), encode(encoder, ids, ids > 0, chunks=2))
    True
    """
    if chunks <= 1 or len(ids) < 2:
        return F.normalize(encoder(ids, mask), dim=-1)
    lengths = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1)
    order = lengths.argsort(stable=True)
    parts = [
        encoder(ids[rows, :longest], mask[rows, :longest])
        for rows in order.chunk(chunks)
        for longest in [max(1, int(lengths[rows[-1]]))]
    ]
    return F.normalize(torch.cat(parts)[order.argsort()], dim=-1)
