"""The two trainings: CoCoSoDa, and the fine-tuning after it, each validated by retrieval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from code_search.data.functions import Function
from code_search.data.sample import evaluation_sample
from code_search.learn.batches import PairBatches
from code_search.learn.cocosoda import CoCoSoDa, FineTune
from code_search.learn.pairs import PairArrays
from code_search.model.encoder import CodeEncoder
from core.evaluation.retrieval import ranks_streaming, retrieval_metrics
from core.learning.fit import FitResult, fit


def pretrain(
    encoder: CodeEncoder,
    pairs: PairArrays,
    valid: Sequence[Function],
    *,
    steps: int,
    batch_size: int,
    queue_size: int,
    momentum: float,
    temperature: float = 0.07,
    logit_scale_extra: float = 1.0,
    intra: bool = True,
    keys: bool = True,
    augment: bool = True,
    augment_rate: float = 0.1,
    hide_name: float = 0.3,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    warmup: float = 0.05,
    schedule: Any = "linear",
    chunks: int = 1,
    validation_queries: int = 500,
    seed: int = 0,
    **fitting: Any,
) -> FitResult:
    """Train the encoder in place with CoCoSoDa.

    Args:
        encoder: what to train.
        pairs: training pairs, made with the encoder's tokenizer.
        valid: functions to validate on, of other groups.
        steps, batch_size: of optimization.
        queue_size, momentum, temperature, logit_scale_extra, intra, keys, chunks: of `CoCoSoDa`.
        augment, augment_rate, hide_name: of `PairBatches`.
        learning_rate, weight_decay, warmup, schedule: of `ContrastiveModule`.
        validation_queries: size of the sample that is searched a few times during training.
        seed: of the order of the pairs and all random numbers.
        **fitting: of `core.learning.fit.fit`: checkpoint_dir, threads, precision, logger, ...
    """
    module = CoCoSoDa(
        encoder.module, queue_size=queue_size, momentum=momentum, temperature=temperature,
        logit_scale_extra=logit_scale_extra, intra=intra, keys=keys, chunks=chunks,
        learning_rate=learning_rate, weight_decay=weight_decay, warmup=warmup, schedule=schedule,
    )  # fmt: skip
    batches = PairBatches(
        pairs,
        encoder.tokenizer,
        batch_size,
        seed=seed,
        hide_name=hide_name,
        augment=augment,
        rate=augment_rate,
    )
    return fit(
        module, batches, steps=steps, seed=seed, gradient_clip=1.0, title="pretrain",
        validate=retrieval_validation(encoder, valid, validation_queries), **fitting,
    )  # fmt: skip


def adapt(
    encoder: CodeEncoder,
    pairs: PairArrays,
    valid: Sequence[Function],
    *,
    steps: int,
    batch_size: int,
    scale: float = 20.0,
    hide_name: float = 0.3,
    learning_rate: float = 1e-4,
    weight_decay: float = 0.01,
    chunks: int = 1,
    validation_queries: int = 500,
    seed: int = 0,
    **fitting: Any,
) -> FitResult:
    """Fine-tune the encoder in place on text -> code, keeping the weights with the best validation MRR.

    Arguments as in `pretrain`; ``scale`` as in `FineTune`.
    """
    module = FineTune(
        encoder.module, scale=scale, chunks=chunks, learning_rate=learning_rate, weight_decay=weight_decay,
        schedule="linear",
    )  # fmt: skip
    batches = PairBatches(pairs, encoder.tokenizer, batch_size, seed=seed, hide_name=hide_name, augment=False)
    return fit(
        module, batches, steps=steps, seed=seed, gradient_clip=1.0, title="adapt", keep_best="valid_mrr",
        validate=retrieval_validation(encoder, valid, validation_queries), **fitting,
    )  # fmt: skip


def retrieval_validation(
    encoder: CodeEncoder, functions: Sequence[Function], queries: int
) -> Callable[[Any, int], dict[str, float]]:
    """A ``validate`` for ``fit``: MRR of the encoder on a sample of the functions, names shown and hidden.

    ``valid_mrr`` is the mean of the two.
    """
    samples = {
        name: evaluation_sample(functions, queries, hide_name=hidden)
        for name, hidden in (("shown", False), ("hidden", True))
    }

    def validate(module: Any, step: int) -> dict[str, float]:
        found = {}
        for name, sample in samples.items():
            rank = ranks_streaming(
                encoder.encode_queries(sample.queries),
                encoder.encode_functions(sample.functions),
                range(len(sample.queries)),
            )
            found[f"valid_mrr_{name}"] = retrieval_metrics(rank)["mrr"]
        return {"valid_mrr": (found["valid_mrr_shown"] + found["valid_mrr_hidden"]) / 2, **found}

    return validate
