"""One pretraining on the chosen slices of the training patients, and what its embedding is worth on labels."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.data.digest import digest_of
from core.evaluation.collapse import diagnose
from core.files import write_json
from medical.ct.evaluate import is_labelled, probe_probabilities
from medical.ct.images import Load
from medical.ct.learn.train import class_scores, finetune, pretrain, steps_of
from medical.ct.model import SliceEncoder, new_encoder
from medical.ct.sources import small_images

if TYPE_CHECKING:
    import pandas as pd

    from medical.ct.settings import Params


def pretrain_on(
    encoder: SliceEncoder,
    table: pd.DataFrame,
    load: Load,
    *,
    kept_only: bool,
    epochs: float,
    match: str,
    training: Mapping[str, Any],
    **fitting: Any,
) -> dict[str, Any]:
    """Pretrain in place on the training patients' slices, all or the kept ones.

    Args:
        table: with columns series, split, kept.
        match: "epochs": as many passes as the full set gets; "steps": as many steps.
        training: of `medical.ct.learn.train.pretrain`.

    Returns:
        slices, steps, seconds_reading, seconds (of training, over all attempts), history.
    """
    train = table[table["split"] == "train"]
    part = train[train["kept"]] if kept_only else train
    start = time.perf_counter()
    images = load(part, encoder.size)
    reading = time.perf_counter() - start
    steps = steps_of(len(part if match == "epochs" else train), int(training["batch_size"]), epochs)
    volumes = np.unique(part["series"].to_numpy(str), return_inverse=True)[1]
    result = pretrain(encoder, images, volumes, steps=steps, **training, **fitting)
    return {
        "slices": len(part),
        "steps": steps,
        "seconds_reading": round(reading, 3),
        "seconds": result.seconds,
        "history": result.history,
    }


def probe_encoder(
    encoder: SliceEncoder,
    table: pd.DataFrame,
    images: np.ndarray,
    *,
    regularisation: float,
    epochs: float,
    training: Mapping[str, Any],
    seed: int,
    **fitting: Any,
) -> dict[str, np.ndarray]:
    """Class probabilities of the test patients' labelled slices, by a probe and by fine-tuning.

    The encoder is fine-tuned in place.

    Args:
        table: with columns split, label. images: (n, size, size) uint8 of its rows.
        regularisation: of the probe. epochs: of fine-tuning; 0 leaves it out.
        training: of `medical.ct.learn.train.finetune`.

    Returns:
        test (rows of the table), truth, probe, finetuned (probabilities; each absent where there is
        nothing to score), diagnostics ([embedding_std, effective_rank] on the test patients).
    """
    labels, splits = table["label"].to_numpy(), table["split"].to_numpy(str)
    embeddings = encoder.embed(images)
    seen = embeddings[splits == "test"] if (splits == "test").sum() > 1 else embeddings
    found = diagnose(torch.from_numpy(seen))
    out = {"diagnostics": np.array([found["embedding_std"], found["effective_rank"]])}
    if not is_labelled(labels, splits):
        return out
    train, test = (np.flatnonzero((labels >= 0) & (splits == part)) for part in ("train", "test"))
    classes = np.unique(labels[train])
    codes, truth = np.searchsorted(classes, labels[train]), np.searchsorted(classes, labels[test])
    out |= {"test": test, "truth": truth}
    out["probe"] = probe_probabilities(embeddings[train], codes, embeddings[test], regularisation, seed)
    if epochs:
        steps = steps_of(len(train), int(training["batch_size"]), epochs)
        module = finetune(encoder, images[train], codes, steps=steps, seed=seed, **training, **fitting)
        out["finetuned"] = class_scores(module, images[test])
    return out


def pretrain_stage(params: Params, outputs: Path, name: str, *, checkpoint_dir: Path) -> None:
    """Pretrain on the slices that ``name`` (full, reduced) says, and write the encoder and its history."""
    import pandas as pd

    table = pd.read_parquet(outputs / "selection" / "slices.parquet")
    encoder = new_encoder(**params.model.architecture, window=params.data.window, seed=params.seed)
    result = pretrain_on(
        encoder,
        table,
        small_images(params),
        kept_only=name == "reduced",
        epochs=params.pretrain.epochs,
        match=params.pretrain.match,
        training=params.pretrain.training,
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=checkpoint_dir,
        fingerprint=digest_of(
            params.pretrain, params.model, params.data.window, table["hash"].tolist(), name
        ),
        **params.trainer.model_dump(),
    )
    encoder.save(outputs / f"pretrained_{name}")
    write_json(outputs / f"pretrain_{name}.json", result)
