"""What the evaluate stage hands on: numbers before and after, tables, figures, tags and a timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audio_language.collection import Collection, save_collection, search_rows, tag_rows, write_rows
from audio_language.embed import SoundModel, describe
from audio_language.evaluate import ORDER, Score, as_metrics, embed_items, evaluate
from audio_language.figures import scores_figure, timeline_figure, training_figure
from audio_language.prompts import words
from audio_language.tasks import TestItems
from audio_language.timeline import Timeline, timeline, timeline_html, timeline_rows
from audio_language.word_order import word_order
from core.data.digest import evaluation_digest
from core.files import atomic_write, write_json

SHOWN = (
    "zste1", "zste2_before", "zste2_while", "zste3", "zste4", "zste5", "order_text", "order_audio", "order_group",
    "order_then", "order_followed_by", "order_after",
)  # fmt: skip
PRIMARY = ORDER
NOTES = [
    "Composed test clips join classes that were never joined in training, from recordings of the test split.",
    "Intervals resample source recordings; an item of two recordings counts as often as both were drawn.",
    "Ties count as wrong in every choice between captions; retrieval gives them half a place each.",
]


def report(
    before: SoundModel,
    after: SoundModel,
    items: TestItems,
    folder: Path,
    *,
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    seed: int,
    bootstrap: int,
    demo: bool,
) -> dict[str, Any]:
    """Score both models on the same items; write tags, retrieval, timeline, embeddings and figures.

    Args:
        before, after: the base and the post-trained model.
        items: what is composed and asked.
        folder: existing folder, named ``evaluation`` below the pipeline's outputs in the end.
        histories: of the trainings. seed: of what is drawn. bootstrap: resamples.
        demo: whether the data were generated; then titles say so.

    Returns:
        The part of `core.tracking.result.Result` that evaluation decides.
    """
    scores: dict[str, dict[str, Score]] = {}
    for name, model in (("before", before), ("after", after)):
        embedded = embed_items(model, items)
        scores[name] = evaluate(model, items, seed=seed, embedded=embedded)
        scores[name] |= word_order(model, items, embedded, seed=seed)
    metrics = as_metrics(scores["after"], bootstrap=bootstrap)
    metrics |= as_metrics(
        scores["before"], prefix="before_", suffix=", before", bootstrap=bootstrap, baseline=True
    )
    chance = {name: score.chance for name, score in scores["after"].items()}
    write_json(folder / "zste.json", {name: {**m, "chance": chance.get(name)} for name, m in metrics.items()})
    mark = "demo data" if demo else "test split"
    shown = [name for name in SHOWN if name in metrics]
    figures = {
        scores_figure(
            folder / "scores.png", metrics, chance, shown, title=f"Zero-shot temporal evaluation ({mark})"
        ): "Every task before and after post-training, with chance",
        training_figure(
            folder / "training.png", histories
        ): "Losses and collapse diagnostics of the trainings",
    }
    found = _outputs(after, items, folder)
    if found is not None:
        figures[
            timeline_figure(
                folder / "timeline.png", found, title=f"Timeline of a composed recording ({mark})"
            )
        ] = "Events that the model finds in test clips put one after the other; true order in timeline.csv's file name"
    return {
        "evaluation_digest": evaluation_digest(
            [f"{a.id}+{b.id}" for a, b in items.clips],
            items.single,
            protocol={"seed": seed, "labels": items.labels},
        ),
        "primary": {"name": PRIMARY, "higher_is_better": True, "baseline": f"before_{PRIMARY}"},
        "metrics": metrics,
        "figures": [{"file": f"evaluation/{path.name}", "caption": text} for path, text in figures.items()],
        "tables": [_table(metrics, chance)],
        "notes": [*NOTES, ", ".join(f"{key} {value}" for key, value in describe(after).items())],
    }


def _outputs(model: SoundModel, items: TestItems, folder: Path) -> Timeline | None:
    """tags.csv, retrieval.csv, timeline.csv and .html, and embeddings, of the test clips."""
    store = items.store
    rows = model.embed_waves(store[index] for index in items.single)
    clips = Collection(Path(), [store.clips[index].id for index in items.single], rows, model.digest)
    save_collection(clips, folder / "embeddings")
    queries = [words(label) for label in model.labels] or [store.clips[items.single[0]].captions[0]]
    write_rows(
        folder / "retrieval.csv", search_rows(model, clips, queries), ("query", "file", "score", "rank")
    )
    if not model.labels:
        return None
    write_rows(folder / "tags.csv", tag_rows(model, clips), ("file", "label", "score", "rank"))
    first = {store.clips[index].label: index for index in reversed(items.single)}
    chosen = [first[label] for label in sorted(first)][:8]
    wave = np.concatenate([store[index] for index in chosen])
    found = timeline(model, wave, rate=store.rate)
    name = "+".join(store.clips[index].label for index in chosen)
    write_rows(
        folder / "timeline.csv", timeline_rows(name, found), ("file", "start", "end", "label", "score")
    )
    atomic_write(folder / "timeline.html", timeline_html(name, found))
    return found


def _table(metrics: Mapping[str, Mapping[str, Any]], chance: Mapping[str, float | None]) -> dict[str, Any]:
    """Every task before and after."""
    rows = []
    for name, metric in metrics.items():
        if name.startswith("before_"):
            continue
        before, level = metrics[f"before_{name}"], chance.get(name)
        rows.append(
            [
                metric["label"], "-" if level is None else f"{level:.2%}", f"{before['value']:.3f}",
                f"{metric['value']:.3f}", f"{metric['low']:.3f} to {metric['high']:.3f}", metric["n"],
            ]
        )  # fmt: skip
    columns = ["task", "chance", "before", "after", "95 % interval", "n"]
    return {"title": "Zero-shot temporal evaluation", "columns": columns, "rows": rows}
