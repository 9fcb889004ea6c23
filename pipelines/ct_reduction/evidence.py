"""Evidence: pretraining on all slices against hash-reduced, random and evenly spaced ones, over several seeds.

`make evidence PIPELINE=ct_reduction [SOURCE=lidc|autopet|covid_ct_md|manifest ROOT=folder]` writes
`reports/ct_reduction/evidence.json` and a figure; for another source, files beside them.
"""

from __future__ import annotations

import sys
from typing import Any

from core.errors import DataError
from core.evaluation.evidence_script import Request, evidence_script
from medical.ct.settings import Params


def compare(request: Request[Params]) -> None:
    """Hand the pieces to the library, values only."""
    from core.data.digest import digest_of
    from core.evaluation.evidence import run_evidence
    from core.learning.determinism import set_threads
    from medical.ct.ablation import CLAIM, COMPARISONS, Comparison, ablation_arms
    from medical.ct.data.series import slice_table
    from medical.ct.evaluate import is_labelled
    from medical.ct.model import new_encoder
    from medical.ct.selection import slices_of
    from medical.ct.sources import scan_source, small_images, source_root
    from medical.ct.store import hash_slices

    params = request.params.model_copy(update={"data": request.data})
    set_threads(params.threads)
    evidence, window = params.evidence, params.data.window
    root = source_root(params.data, params.seed)
    found = hash_slices(
        root, slice_table(scan_source(params.data, params.seed).series), window=window,
        hash_size=params.hash.size, cache=params.hash.cache, scheduler=params.hash.scheduler,
    )  # fmt: skip
    table = found.table
    if not is_labelled(table["label"].to_numpy(), table["split"].tolist()):
        raise DataError(
            "labels of the source", expected="two labels in both train and test patients",
            remedy="choose a labelled source, or add labels to the manifest",
        )  # fmt: skip
    images = small_images(params)(table, params.model.size)
    comparison = Comparison(
        images, slices_of(table), table["label"].to_numpy(), (table["split"] == "train").to_numpy()
    )
    architecture: dict[str, Any] = {**params.model.architecture, "window": window}
    run_evidence(
        "ct_reduction",
        CLAIM,
        ablation_arms(
            comparison,
            lambda seed: new_encoder(**architecture, seed=seed),
            threshold=evidence.threshold,
            epochs=evidence.epochs,
            settings=params.pretrain.training,
            regularisation=params.finetune.regularisation,
            threads=params.threads,
            diagnostics=False,
            progress=False,
        ),
        seeds=evidence.seeds,
        comparisons=COMPARISONS,
        settings={
            "pretrain": params.pretrain.training,
            "model": architecture,
            "data": found.digest,
            "slices": digest_of(table[["series", "patient", "split", "z_mm", "label"]]),
            "evidence": evidence.model_dump(exclude={"seeds"}),
            "regularisation": params.finetune.regularisation,
        },
        source=params.data.source,
        primary="auc",
    )


if __name__ == "__main__":
    sys.exit(evidence_script(compare, Params, "ct_reduction", about=__doc__))
