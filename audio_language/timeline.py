"""From a recording of any length to events: what is heard from when to when."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_language.audio_file import stream
from audio_language.embed import SoundModel
from core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHUNK = 64
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a", "#b8a000")


@dataclass(frozen=True)
class Event:
    """A label that is heard from ``start`` to ``end`` (seconds); ``score`` is its mean probability there."""

    start: float
    end: float
    label: str
    score: float


@dataclass(frozen=True)
class Timeline:
    """What `timeline` returns.

    Attributes:
        seconds: length of the recording. labels: those scored. events: in order of their start.
        starts, ends: (windows,) of each window in seconds.
        scores: (windows, labels) probabilities; rows sum to 1.
    """

    seconds: float
    labels: list[str]
    events: list[Event]
    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray


def timeline(
    model: SoundModel,
    source: str | os.PathLike[str] | np.ndarray,
    *,
    rate: int | None = None,
    labels: Sequence[str] | None = None,
    window: float | None = None,
    hop: float | None = None,
    threshold: float = 0.3,
    background: bool = True,
) -> Timeline:
    """Slide a window over a recording and join neighbours with the same label to events.

    Memory does not grow with the length of a file, apart from one number a window and label.

    Args:
        source: a file, or a mono waveform (samples,) at ``rate`` Hz.
        labels: what to look for; the model's own by default.
        window: seconds looked at, at most the model's own window; half of it by default (that is how long a
            single clip was in training). hop: seconds between windows; half a window by default.
        threshold: probability from which a label counts as heard.
        background: count windows below -60 dBFS as silence, without any label.

    Raises:
        ConfigError: numbers out of range. DataError: as the readers.
    """
    size = model.seconds / 2 if window is None else window
    step = size / 2 if hop is None else hop
    if not 0.05 <= size <= model.seconds or not 0 < step <= size or not 0 <= threshold < 1:
        raise ConfigError(
            "timeline (window, hop, threshold)", seen=(size, step, threshold),
            expected=f"0.05 to {model.seconds:g} s, above 0 up to the window, 0 to below 1",
        )  # fmt: skip
    chosen = list(labels or model.labels)
    blocks = (
        stream(source, model.rate)
        if not isinstance(source, np.ndarray)
        else iter([_ready(model, source, rate)])
    )
    spans: list[tuple[float, float]] = []
    found: list[np.ndarray] = []
    quiet: list[bool] = []
    chunk: list[np.ndarray] = []
    for start, end, wave in model.windows(blocks, window=size, hop=step):
        spans.append((start, end))
        quiet.append(background and float(np.sqrt(np.mean(np.square(wave)))) < 1e-3)
        chunk.append(wave)
        if len(chunk) == CHUNK:
            found.append(model.tag_scores(model.embed_waves(chunk), chosen))
            chunk = []
    if chunk:
        found.append(model.tag_scores(model.embed_waves(chunk), chosen))
    scores = model.probabilities(np.concatenate(found))
    starts, ends = np.array(spans).T
    heard = scores * ~np.array(quiet)[:, None]
    return Timeline(
        float(ends[-1]), chosen, join_events(heard, starts, ends, chosen, threshold), starts, ends, scores
    )


def join_events(
    scores: np.ndarray, starts: np.ndarray, ends: np.ndarray, labels: Sequence[str], threshold: float
) -> list[Event]:
    """Events of the best label of each window; windows that follow each other with one label are joined.

    Where windows of two labels overlap, the border is the middle of the overlap.

    >>> scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    >>> starts, ends = np.array([0.0, 1.0, 2.0]), np.array([2.0, 3.0, 4.0])
    >>> [(e.start, e.end, e.label) for e in join_events(scores, starts, ends, ["dog", "rain"], 0.3)]
    [(0.0, 2.5, 'dog'), (2.5, 4.0, 'rain')]
    """
    best = np.where(scores.max(axis=1) >= threshold, scores.argmax(axis=1), -1)
    runs: list[list[int]] = []
    for index, label in enumerate(best):
        if runs and best[runs[-1][-1]] == label:
            runs[-1].append(index)
        else:
            runs.append([index])
    events = []
    for place, run in enumerate(runs):
        label = int(best[run[0]])
        if label < 0:
            continue
        start, end = float(starts[run[0]]), float(ends[run[-1]])
        if place > 0:
            start = (start + max(start, float(ends[run[0] - 1]))) / 2
        if place + 1 < len(runs):
            end = (end + min(end, float(starts[run[-1] + 1]))) / 2
        events.append(Event(start, end, labels[label], float(scores[run, label].mean())))
    return events


def timeline_rows(name: str, found: Timeline) -> list[dict[str, Any]]:
    """Rows of ``timeline.csv``: file, start, end, label, score."""
    return [
        {
            "file": name,
            "start": round(e.start, 3),
            "end": round(e.end, 3),
            "label": e.label,
            "score": round(e.score, 4),
        }
        for e in found.events
    ]


def draw_timeline(axes: Axes, found: Timeline, *, most: int = 12, title: str = "") -> None:
    """Events as bars, one row a label, strongest labels first; the windows' probabilities in grey behind."""
    length: dict[str, float] = {}
    for event in found.events:
        length[event.label] = length.get(event.label, 0.0) + event.end - event.start
    shown = sorted(length, key=lambda label: -length[label])[:most] or found.labels[:1]
    shown.sort(key=lambda label: min((e.start for e in found.events if e.label == label), default=0.0))
    for row, label in enumerate(shown):
        column = found.labels.index(label)
        centre = (found.starts + found.ends) / 2
        axes.fill_between(centre, row, row - 0.8 * found.scores[:, column], color="#d9d9d9", linewidth=0)
        for event in found.events:
            if event.label == label:
                axes.barh(
                    row - 0.4, event.end - event.start, left=event.start, height=0.55,
                    color=COLOURS[row % len(COLOURS)], alpha=0.35 + 0.6 * event.score,
                )  # fmt: skip
    axes.set_yticks([row - 0.4 for row in range(len(shown))], [label.replace("_", " ") for label in shown])
    axes.set_ylim(len(shown) - 0.9, -1)
    axes.set_xlim(0, found.seconds)
    axes.set_xlabel("seconds")
    axes.set_title(title)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def timeline_html(name: str, found: Timeline) -> str:
    """A page with the events as bars and as a table; needs no script and no network."""
    if not found.labels:
        raise DataError("labels of the timeline", seen=0, expected="at least one")
    colour = {
        label: COLOURS[i % len(COLOURS)]
        for i, label in enumerate(dict.fromkeys(e.label for e in found.events))
    }
    bars, rows = [], []
    for event in found.events:
        left, wide = 100 * event.start / found.seconds, 100 * (event.end - event.start) / found.seconds
        text = html.escape(event.label.replace("_", " "))
        bars.append(
            f'<i title="{text} {event.start:.1f} to {event.end:.1f} s" style="left:{left:.3f}%;width:{wide:.3f}%;'
            f'background:{colour[event.label]}"></i>'
        )
        rows.append(
            f"<tr><td>{event.start:.2f}</td><td>{event.end:.2f}</td>"
            f'<td><b style="background:{colour[event.label]}"></b>{text}</td><td>{event.score:.2f}</td></tr>'
        )
    title = html.escape(name)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>'
        "body{font:15px system-ui,sans-serif;margin:2rem;max-width:70rem;color:#222}"
        ".bar{position:relative;height:3rem;background:#eee;margin:1rem 0}.bar i{position:absolute;top:0;bottom:0}"
        "table{border-collapse:collapse}td,th{padding:.2rem 1rem .2rem 0;text-align:left}"
        "b{display:inline-block;width:.8em;height:.8em;margin-right:.5em}</style>"
        f"<h1>{title}</h1><p>{found.seconds:.1f} s, {len(found.events)} events</p>"
        f'<div class="bar">{"".join(bars)}</div>'
        "<table><tr><th>start (s)</th><th>end (s)</th><th>sound</th><th>score</th></tr>"
        f"{''.join(rows)}</table></html>\n"
    )


def _ready(model: SoundModel, wave: np.ndarray, rate: int | None) -> np.ndarray:
    from audio_language.audio_file import resample

    if wave.ndim != 1 or not len(wave) or not np.isfinite(wave).all():
        raise DataError("waveform", seen=wave.shape, expected="(samples,), mono, finite, not empty")
    return resample(wave.astype(np.float32), rate or model.rate, model.rate)
