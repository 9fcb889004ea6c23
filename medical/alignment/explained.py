"""One case, explained: attention, words, observations, and what each modality adds."""

from __future__ import annotations

from typing import Any

import numpy as np

from medical.alignment.objective import MODALITIES
from medical.alignment.prepared import Prepared
from medical.alignment.prompts import Prompts
from medical.alignment.relevance import film_relevance, lead_relevance, signal_relevance, word_relevance
from medical.alignment.space import Space
from medical.alignment.xplain import Explanation, all_prompts, explain


def explain_film(space: Space, film: np.ndarray, prompts: Prompts) -> Explanation | None:
    """Observations and findings of one prepared film; None where the prompt set names no observations."""
    if not prompts.catalogue:
        return None
    texts = [prompts.prefix + text for text in all_prompts(prompts.catalogue)]
    fit = space.score({"xray": space.embed_films([film])}, "text", space.embed_texts(texts))
    return explain(fit, prompts.catalogue)


def explain_case(space: Space, prepared: Prepared, prompts: Prompts, row: int) -> dict[str, Any]:
    """Everything that `medical.alignment.figures.case_figure` draws, for an item that has all modalities."""
    film, signal = prepared.film(row), prepared.signal(row)
    text = str(prepared.table["text"].iloc[row])
    vectors = {
        "xray": space.embed_films([film])[0],
        "ecg": space.embed_signals([signal])[0],
        "text": space.embed_texts([text])[0],
    }
    report = {name: space.towards(name, "text", vectors["text"], vectors[name]) for name in ("xray", "ecg")}
    words = word_relevance(space, text, space.towards("text", "xray", vectors["xray"], vectors["text"]))
    case: dict[str, Any] = {
        "film": film,
        "film_map": film_relevance(space, film, report["xray"]),
        "signal": signal,
        "fs": space.preprocessing.fs,
        "moments": signal_relevance(space, signal, report["ecg"]),
        "leads": lead_relevance(space, signal, report["ecg"]),
        "words": sorted(words, key=lambda one: -abs(one[1])),
    }
    found = explain_film(space, film, prompts)
    if found is not None:
        case["observations"] = [
            (f"{one} ({finding})", p) for finding in found.observations for one, p in found.ranked(finding)
        ]
    if space.head is not None:
        rows = np.stack([vectors[name] for name in MODALITIES])[None]
        shown: dict[str, tuple[bool, ...]] = {"all": (True, True, True)}
        shown |= {f"no {('film', 'ECG', 'report')[m]}": tuple(k != m for k in range(3)) for m in range(3)}
        case["removal"] = [
            (
                label,
                dict(zip(space.head.labels, space.head.probabilities(rows, np.array([pattern]))[0].tolist())),
            )
            for label, pattern in shown.items()
        ]
    return case
