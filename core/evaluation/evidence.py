"""Evidence: arms x seeds of one comparison, paired intervals over seeds, one JSON file and one figure."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from core.data.digest import digest_of
from core.errors import ConfigError, DataError
from core.files import read_json, write_json

CACHE = Path(".kindred/evidence")
FEWEST_SEEDS = 5


def run_evidence(
    pipeline: str,
    claim: str,
    arms: Mapping[str, Callable[[int], Mapping[str, float]]],
    *,
    seeds: Sequence[int],
    comparisons: Sequence[tuple[str, str]],
    settings: Any,
    source: str = "demo",
    default: bool | None = None,
    primary: str | None = None,
    shown: Sequence[str] = (),
    reports: str | Path = "reports",
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run every arm with every seed, and write what came out and how sure it is.

    Each finished (arm, seed) is kept in ``.kindred/evidence``; a run that was stopped goes on with the
    rest, and one with other ``settings`` starts afresh. Seeds are the outer loop, so that a stopped run
    is balanced.

    Args:
        pipeline: folder name below ``reports``.
        claim: the sentence under test.
        arms: name -> function seed -> metrics (higher or lower is for the reader to know; name them so).
        seeds: at least 5, distinct; the same for all arms, hence paired.
        comparisons: (arm, arm) pairs; the difference is first - second.
        settings: whatever shapes the results (params, data digest); plain values or a settings model.
        source: what the results rest on, in a word: "demo" for generated data.
        default: results on the pipeline's default source go to ``evidence.json`` (which is committed), others
            beside it to ``evidence-SOURCE.json``. "demo" is the default source unless said otherwise.
        primary: the metric that the figure and the short tables show; the first one by default.
        shown: metrics that the long tables show, where all would be too many to read; the file has all.

    A metric that is not a finite number is undefined: it is written as null, and the differences that would need it
    are left out.

    Returns:
        What was written; intervals are those of ``paired_interval``. ::

            {"claim": ..., "source": ..., "seeds": [...], "primary": metric, "shown": [...], "minutes": ...,
             "arms": {arm: {metric: [a value a seed]}},
             "differences": {"arm-vs-arm": {metric: {"mean": ..., "low": ..., "high": ...}}}}

    Raises:
        ConfigError: fewer than 5 seeds, or a comparison of an unknown arm.
    """
    _check(arms, seeds, comparisons)
    folder = CACHE / pipeline / digest_of(claim, settings, source, sorted(arms))[:16]
    results: dict[str, list[dict[str, float | None]]] = {arm: [] for arm in arms}
    seconds = 0.0
    for seed in seeds:
        for arm, run in arms.items():
            kept = folder / f"{arm}-{seed}.json"
            if not kept.is_file():
                start = time.perf_counter()
                metrics = {name: float(value) for name, value in run(seed).items()}
                write_json(kept, {"metrics": metrics, "seconds": time.perf_counter() - start})
            found = read_json(kept)
            results[arm].append(found["metrics"])
            seconds += found["seconds"]
            say(f"seed {seed}  {arm}: " + "  ".join(f"{k} {_said(v)}" for k, v in found["metrics"].items()))
    evidence = summarise(claim, source, seeds, results, comparisons, round(seconds / 60, 2), primary, shown)
    name = "evidence" if (source == "demo" if default is None else default) else f"evidence-{source}"
    write_json(Path(reports) / pipeline / f"{name}.json", evidence)
    draw_evidence(evidence, Path(reports) / pipeline / f"{name}.png")
    say(evidence_table(evidence))
    return evidence


def summarise(
    claim: str,
    source: str,
    seeds: Sequence[int],
    results: Mapping[str, Sequence[Mapping[str, float | None]]],
    comparisons: Sequence[tuple[str, str]],
    minutes: float,
    primary: str | None = None,
    shown: Sequence[str] = (),
) -> dict[str, Any]:
    """The evidence as it is written; ``results``: arm -> metrics of each seed, in the order of ``seeds``."""
    arms = {
        arm: {name: [_finite(run[name]) for run in runs] for name in runs[0]} for arm, runs in results.items()
    }
    differences = {}
    for first, second in comparisons:
        shared = [
            name
            for name in arms[first]
            if name in arms[second] and None not in arms[first][name] + arms[second][name]
        ]
        differences[f"{first}-vs-{second}"] = {
            name: dict(
                zip(
                    ("mean", "low", "high"),
                    paired_interval(arms[first][name], arms[second][name]),
                    strict=True,
                )
            )
            for name in shared
        }
    return {
        "claim": claim,
        "source": source,
        "seeds": list(seeds),
        "primary": primary or next(iter(next(iter(arms.values())))),
        "shown": list(shown),
        "arms": arms,
        "differences": differences,
        "minutes": minutes,
    }


def paired_interval(first: Any, second: Any, level: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) of first - second, paired by position: Student's t over the differences.

    Args:
        first, second: (n,) values of the same n >= 2 seeds.

    >>> [round(v, 3) for v in paired_interval([1.0, 2.0, 3.0], [0.0, 1.5, 1.0])]
    [1.167, -0.731, 3.064]
    """
    from scipy.stats import t

    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if difference.ndim != 1 or len(difference) < 2 or not np.isfinite(difference).all():
        raise DataError(
            "paired interval", seen=difference.tolist(), expected="two or more finite differences"
        )
    half = t.ppf((1 + level) / 2, len(difference) - 1) * difference.std(ddof=1) / len(difference) ** 0.5
    mean = float(difference.mean())
    return mean, mean - float(half), mean + float(half)


def evidence_table(evidence: Mapping[str, Any]) -> str:
    """The differences as a Markdown table.

    A metric that an arm has undefined in some seed has no difference, and the table says so.

    >>> e = summarise("c", "demo", [0, 1], {"a": [{"m": 1.0}, {"m": 2.0}], "b": [{"m": 0.0}, {"m": 1.0}]},
    ...               [("a", "b")], 0.1)
    >>> print(evidence_table(e))
    | comparison | metric | first | second | difference (95 %) | zero is |
    |---|---|---|---|---|---|
    | a vs b | m | 1.5 | 0.5 | +1 [+1, +1] | below |
    """
    lines = [
        "| comparison | metric | first | second | difference (95 %) | zero is |",
        "|---|---|---|---|---|---|",
    ]
    for pair, metrics in evidence["differences"].items():
        first, second = pair.split("-vs-")
        arms = [evidence["arms"][arm] for arm in (first, second)]
        for name in (name for name in arms[0] if name in arms[1]):
            means = [_said(_mean(arm[name])) for arm in arms]
            found = metrics.get(name)
            if found is None:
                lines.append(f"| {first} vs {second} | {name} | {means[0]} | {means[1]} | undefined | |")
                continue
            zero = "below" if found["low"] > 0 else "above" if found["high"] < 0 else "inside"
            lines.append(
                f"| {first} vs {second} | {name} | {means[0]} | {means[1]} "
                f"| {found['mean']:+.3g} [{found['low']:+.3g}, {found['high']:+.3g}] | {zero} |"
            )
    return "\n".join(lines)


def draw_evidence(evidence: Mapping[str, Any], path: str | Path) -> Path:
    """A figure of two panels: each seed's value by arm, and the paired differences with their intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    arms, metric = evidence["arms"], evidence["primary"]
    shown = {arm: values[metric] for arm, values in arms.items() if metric in values}
    pairs = {pair: found[metric] for pair, found in evidence["differences"].items() if metric in found}
    # A line of text takes 0.2 inches; a pair of arms is written on two or more of them.
    left_labels = [
        _wrapped(arm) + ("\n(undefined in some seeds)" if None in values else "")
        for arm, values in shown.items()
    ]
    right_labels = [
        _wrapped(first) + "\n− " + _wrapped(second) for first, second in (p.split("-vs-") for p in pairs)
    ]
    lines = max(
        sum(label.count("\n") + 1.6 for label in labels) for labels in (left_labels, right_labels or [""])
    )
    title = fill(f"{evidence['claim']} ({evidence['source']} data, {len(evidence['seeds'])} seeds)", 90)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 0.2 * lines + 0.25 * (title.count("\n") + 1) + 1.1), layout="constrained"
    )
    for place, values in enumerate(shown.values()):
        points, mean = [value for value in values if value is not None], _mean(values)
        left.plot(points, [place] * len(points), "o", alpha=0.5, color="tab:blue", markeredgewidth=0)
        if mean is not None:
            left.plot([mean], [place], "|", markersize=18, color="black")
    left.set_yticks(range(len(shown)), left_labels)
    left.set_ylim(len(shown) - 0.4, -0.6)
    left.set_xlabel(f"{metric}\n(a dot a seed; the bar is the mean)")
    for place, found in enumerate(pairs.values()):
        right.plot([found["low"], found["high"]], [place, place], color="tab:blue", linewidth=3, alpha=0.6)
        right.plot([found["mean"]], [place], "o", color="black", markersize=5)
    right.axvline(0, color="grey", linewidth=0.8, linestyle="--")
    right.set_yticks(range(len(pairs)), right_labels)
    right.set_ylim(len(pairs) - 0.4, -0.6)
    right.set_xlabel(f"difference of {metric}\n(paired over seeds, 95 % interval)")
    for axes in (left, right):
        axes.locator_params(axis="x", nbins=5)  # small differences have long numbers
    figure.suptitle(title, fontsize=11)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return target


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _mean(values: Sequence[float | None]) -> float | None:
    """None where the value of a seed is undefined."""
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if len(found) == len(values) else None


def _said(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _wrapped(arm: str) -> str:
    """An arm's name on lines of at most 26 letters."""
    return fill(arm, 26, break_long_words=True)


def _check(arms: Mapping[str, Any], seeds: Sequence[int], comparisons: Sequence[tuple[str, str]]) -> None:
    if len(set(seeds)) < FEWEST_SEEDS or len(set(seeds)) != len(seeds):
        raise ConfigError(
            "evidence seeds", seen=list(seeds), expected=f"at least {FEWEST_SEEDS} different ones"
        )
    unknown = sorted({arm for pair in comparisons for arm in pair} - set(arms))
    if unknown:
        raise ConfigError("evidence comparisons", seen=unknown, expected=f"arms among {sorted(arms)}")
    odd = [arm for arm in arms if "-vs-" in arm or json.dumps(arm) != f'"{arm}"' or "/" in arm]
    if odd:
        raise ConfigError("evidence arms", seen=odd, expected="plain names without '/' or '-vs-'")
