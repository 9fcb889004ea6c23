"""What the evaluate stage hands on: probes and heads with intervals, tables, figures, and a map of a scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.data.digest import evaluation_digest
from earth_observation.data.store import ChipStore
from earth_observation.evaluate import (
    Score,
    accuracy_score,
    change_confusions,
    class_scores,
    class_table,
    confusion_score,
    embed,
    linear_probes,
    map_confusions,
    neighbour_probe,
    one_class_each,
)
from earth_observation.figures import chips_figure, classes_figure, probe_figure, training_figure
from earth_observation.learn.heads import embed_chips
from earth_observation.linear import linear_scores
from earth_observation.model import Encoder, LandCover
from earth_observation.quicklook import colours

SHOWN_CHIPS = 6
FOLDER = "evaluation"
"""What the folder is called in the end, below the pipeline's outputs."""
FINE_TUNED = (
    "The encoder of the served model was fine-tuned with labels; the probes are of the encoder before that."
)


def evaluate(
    store: ChipStore,
    product: str,
    model: LandCover,
    pretrained: Encoder,
    random: Encoder,
    folder: Path,
    *,
    shares: Sequence[float],
    labelled: float,
    regularisation: float,
    finetuned: bool,
    neighbours: int,
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    bootstrap: int,
    seed: int,
    label_seed: int,
    demo: bool,
) -> dict[str, Any]:
    """Score the pretrained encoder against an untrained one, and the heads of the served model.

    Args:
        pretrained: the encoder as pretraining left it; the probes are of this one, even where ``finetuned`` says that
            the served model's encoder was trained on with labels. random: the same encoder before any training: the
            baseline. shares: of the labels, for the probe.
        labelled, regularisation, label_seed: of the served class head. folder: existing, gets the figures.

    Returns:
        The part of `core.tracking.result.Result` that evaluation decides.
    """
    mark = "demo data" if demo else "test split"
    arms = {"pretrained": pretrained.eval(), "random": random.eval()}
    found = {name: embed(encoder, store, product) for name, encoder in arms.items()}
    probes = {
        name: linear_probes(one, store, shares, seed=seed, bootstrap=bootstrap) for name, one in found.items()
    }
    test = found["pretrained"].test
    groups, truth = store.groups(test), store.classes[test]
    one_class = one_class_each(store)
    metrics: dict[str, Any] = {}
    for name, scores in probes.items():
        for share, score in scores.items():
            key = f"map_{share:g}" if name == "pretrained" else f"{name}_map_{share:g}"
            metrics[key] = _metric(
                f"mAP, linear probe, {share:.0%} of the labels, {name}", score, name == "random"
            )
            if one_class:
                right = accuracy_score(truth, score.scores, groups, bootstrap)
                metrics[key.replace("map_", "accuracy_")] = _metric(
                    f"accuracy, linear probe, {share:.0%} of the labels, {name}", right, name == "random"
                )
        near = neighbour_probe(found[name], store, neighbours=neighbours, bootstrap=bootstrap)
        key = "knn" if name == "pretrained" else f"{name}_knn"
        metrics[key] = _metric(f"mAP, {neighbours} nearest neighbours, {name}", near, name == "random")
    tables = [_probe_table(probes, shares)]
    figures = {
        probe_figure(folder / "probe.png", probes, title=f"Linear probe ({mark})"): "Probe against labels",
        training_figure(folder / "training.png", histories): "Losses and effective rank of the trainings",
    }
    if model.classify is not None:
        test_x = embed_chips(model.encoder, store, product, test) if finetuned else found["pretrained"].test_x
        weights, bias = (p.detach().numpy() for p in (model.classify.weight, model.classify.bias))
        answers = linear_scores(test_x, weights, bias)
        how = f"{labelled:.0%} of the labels" + (", fine-tuned with the encoder" if finetuned else "")
        metrics |= {
            f"{key}_served": _metric(f"{label} of the served class head ({how})", score)
            for key, (label, score) in class_scores(truth, answers, groups, bootstrap, one_class).items()
            if np.isfinite(score.value)  # without a class of both outcomes there is no macro mAP
        }
        if finetuned:  # what the same labels give without touching the encoder
            frozen = linear_probes(
                found["pretrained"], store, [labelled], seed=label_seed, regularisation=regularisation,
                bootstrap=bootstrap,
            )[labelled]  # fmt: skip
            metrics["map_frozen"] = _metric(
                f"mAP of the class head before fine-tuning ({labelled:.0%} of the labels)", frozen, True
            )
        rows = class_table(truth, answers, store.table.names)
        tables.append({"title": "Served class head", "columns": ["class", "test chips", "AP"], "rows": rows})
        title = f"Served class head ({mark})"
        figures[classes_figure(folder / "classes.png", rows, title=title)] = "Average precision of each class"
    everything = store.indices("test", product)
    if model.decoder is not None:
        mapped = everything[(np.asarray(store.landcover[everything]) != 255).any((1, 2))]
        confusions = map_confusions(model, store, product, mapped)
        places = store.groups(mapped)
        for key, label in (("miou", "mIoU of the map head"), ("accuracy", "pixel accuracy of the map head")):
            metrics[f"map_{key}"] = _metric(
                label, confusion_score(confusions, places, partial(_entry, key), bootstrap)
            )
        figures[_chips(store, product, model, mapped, folder, mark)] = (
            "Test chips, their reference and their map"
        )
    if model.changes is not None:
        confusions, places = change_confusions(model, store, product, everything)
        metrics["change_f1"] = _metric(
            "F1 of changed pixels between two dates",
            confusion_score(confusions, places, lambda s: s["f1"][1], bootstrap),
        )
    middle = sorted(shares)[len(shares) // 2]
    return {
        "evaluation_digest": evaluation_digest(
            [
                f"{store.chips[int(k)]['item']}@{store.chips[int(k)]['row']},{store.chips[int(k)]['column']}"
                for k in test
            ],
            truth,
            protocol={"product": product, "shares": list(shares), "seed": seed, "size": store.size},
        ),
        "primary": {
            "name": f"map_{middle:g}",
            "higher_is_better": True,
            "baseline": f"random_map_{middle:g}",
        },
        "metrics": metrics,
        "figures": [{"file": f"{FOLDER}/{path.name}", "caption": text} for path, text in figures.items()],
        "tables": tables,
        "notes": [
            "mAP is micro where not called macro, over the whole test set; labelled chips are drawn without "
            "replacement, the same for both starts; the encoder is frozen, as pretraining left it, and in eval mode.",
            *([FINE_TUNED] if finetuned else []),
            f"Intervals resample places ({len(set(groups))} in the test split).",
            f"Product {product}: {', '.join(model.sensor.bands)}; normalisation {model.normalisation.name}.",
        ],
    }


def _entry(key: str, scores: Mapping[str, Any]) -> float:
    return float(scores[key])


def _metric(label: str, score: Score, baseline: bool = False) -> dict[str, Any]:
    return {
        "label": label, "value": score.value, "low": score.low, "high": score.high, "n": score.n, "baseline": baseline
    }  # fmt: skip


def _probe_table(probes: Mapping[str, Mapping[float, Score]], shares: Sequence[float]) -> dict[str, Any]:
    rows = [
        [name, *(f"{scores[s].value:.3f} [{scores[s].low:.3f}, {scores[s].high:.3f}]" for s in shares)]
        for name, scores in probes.items()
    ]
    return {
        "title": "Linear probe, mAP",
        "columns": ["start", *(f"{s:.0%} labels" for s in shares)],
        "rows": rows,
    }


def _chips(
    store: ChipStore, product: str, model: LandCover, chips: np.ndarray, folder: Path, mark: str
) -> Path:
    """Chips of as many places as can be shown, in summer where there is a choice."""
    first: dict[str, int] = {}
    for k in sorted(chips.tolist(), key=lambda k: -store.chips[k]["season"] % 3):
        first.setdefault(store.chips[k]["group"], k)
    chosen = np.array(sorted(first.values())[:SHOWN_CHIPS])
    pixels = store.read(product, chosen)
    with torch.no_grad():
        answers = model.map(torch.from_numpy(pixels).float() / 255).argmax(1).numpy()
    truths = np.asarray(store.landcover[chosen])
    known = np.ones(pixels.shape[2:], dtype=bool)
    pictures = [colours(x.astype(float), known, model.sensor.bands) for x in pixels]
    answers = [np.where(t == 255, 255, a).astype(np.uint8) for t, a in zip(truths, answers)]
    title = f"Land cover from {model.sensor.name} ({mark})"
    return chips_figure(folder / "chips.png", pictures, list(truths), answers, store.table, title=title)
