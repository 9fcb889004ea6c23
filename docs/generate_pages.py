"""Fills the generated parts of README.md and docs/, so that no number and no column is typed by hand.

A generated part stands between two comments:

    <!-- generated: NAME ARGUMENT (python docs/generate_pages.py) -->
    <!-- end of generated -->

`python docs/generate_pages.py` rewrites them from committed files; `--check` only compares (exit 1 if one differs).
"""

from __future__ import annotations

import importlib
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.report.evidence import Evidence, shown_metrics

ROOT = Path(__file__).resolve().parent.parent
PART = re.compile(
    r"(<!-- generated: (?P<name>\w+) ?(?P<argument>\w*) \(python docs/generate_pages\.py\) -->\n)"
    r".*?(<!-- end of generated -->)",
    flags=re.DOTALL,
)


def evidence(root: Path, _: str) -> str:
    """Every comparison of every pipeline on its primary metric: one line each."""
    lines = [
        "| pipeline, data | metric | compared | values | difference (95 %) | the first is |",
        "| --- | --- | --- | ---: | ---: | --- |",
    ]
    claims, without = [], []
    for pipeline in pipelines(root):
        found = read_evidence(root, pipeline)
        if found is None:
            without.append(f"`{pipeline}`")
            continue
        metric, linked = found["primary"], f"[{pipeline}](docs/pipelines/{pipeline}.md#results)"
        claims.append(f"- {linked}, {len(found['seeds'])} seeds: {found['claim']}.")
        for pair, by_metric in found["differences"].items():
            if metric not in by_metric:
                continue
            first, second = pair.split("-vs-")
            means = [_number(statistics.fmean(found["arms"][arm][metric])) for arm in (first, second)]
            difference = by_metric[metric]
            verdict = (
                "higher" if difference["low"] > 0 else "lower" if difference["high"] < 0 else "undecided"
            )
            lines.append(
                f"| {pipeline}, {found['source']} | {metric} | {first} − {second} | {means[0]} and {means[1]} "
                f"| {_interval(difference)} | {verdict} |"
            )
    if not claims:
        return "No comparison has been run to its end yet: `make evidence PIPELINE=code_search`."
    missing = f"\n\nNot run to the end yet: {', '.join(without)}." if without else ""
    return "Claims tested:\n\n" + "\n".join(claims) + "\n\n" + "\n".join(lines) + missing


def results(root: Path, pipeline: str) -> str:
    """The evidence of one pipeline in full: claim, figure, arms, differences."""
    found = read_evidence(root, pipeline)
    if found is None:
        return (
            f"The comparison has not been run to its end yet: `make evidence PIPELINE={pipeline}`, then "
            "`python docs/generate_pages.py`."
        )
    data = "generated demo data" if found["source"] == "demo" else f"data source `{found['source']}`"
    metrics, others = shown_metrics(Evidence(**found))
    head = ("| --- |" + " ---: |" * len(metrics)).rstrip()
    lines = [
        f"Claim tested: **{found['claim']}.** On {data}, {len(found['seeds'])} seeds, {found['minutes']:.0f} minutes "
        "on 2 cores. Arms are mean ± standard deviation over seeds; differences are paired over seeds, with 95 % "
        "intervals, bold where 0 is outside.",
        "",
        "| arm | " + " | ".join(metrics) + " |",
        head,
    ]
    for arm, values in found["arms"].items():
        lines.append(f"| {arm} | " + " | ".join(_spread(values.get(metric)) for metric in metrics) + " |")
    lines += ["", "| difference | " + " | ".join(metrics) + " |", head]
    for pair, by_metric in found["differences"].items():
        cells = [_interval(by_metric.get(metric), bold=True) for metric in metrics]
        lines.append(f"| {pair.replace('-vs-', ' − ')} | " + " | ".join(cells) + " |")
    if others:
        lines += ["", f"Further metrics ({len(others)}) are in `reports/{pipeline}/evidence.json`."]
    lines += ["", f"![Values by seed, and paired differences](../../reports/{pipeline}/evidence.png)"]
    return "\n".join(lines)


def retrieval(root: Path, pipeline: str) -> str:
    """How well each params file's search finds: MRR by ranking, with intervals."""
    file = root / "reports" / pipeline / "retrieval.json"
    if not file.is_file():
        return f"Not measured yet: `make repro PIPELINE={pipeline}`, then `python -m pipelines.{pipeline}.retrieval`."
    kept = json.loads(file.read_text(encoding="utf-8"))
    lines = [
        "| settings | candidates | queries | BM25 | words | dense | hybrid | hybrid − BM25 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, entry in kept.items():
        for row in entry["rows"]:
            numbers = [row[key][0] for key in ("bm25", "lexical", "dense", "hybrid")]
            best = max(numbers)
            cells = [f"**{value:.3f}**" if value == best else f"{value:.3f}" for value in numbers]
            gain, low, high = row["gain"]
            lines.append(
                f"| `{name}` | {row['candidates']} | {row['queries']:,} | {' | '.join(cells)} "
                f"| {gain:+.3f} ({low:+.3f} to {high:+.3f}) |"
            )
    trained = [
        f"`{name}` (encoder `{entry['encoder']}`): {entry['pairs']['train']:,} training and "
        f"{entry['pairs']['valid']:,} validation pairs, data digest `{entry['data_digest'][:12]}`"
        for name, entry in kept.items()
    ]
    return "\n".join(lines) + "\n\nMean reciprocal rank. " + "; ".join(trained) + "."


def timings(root: Path, _: str) -> str:
    """Wall time and peak memory of every pipeline."""
    file = root / "reports" / "timings.json"
    if not file.is_file():
        return "Not measured yet: `make repro`, then `python docs/record_timings.py`."
    kept = json.loads(file.read_text(encoding="utf-8"))
    lines = ["| pipeline | time | peak memory | longest stage |", "| --- | ---: | ---: | --- |"]
    for pipeline, one in kept["pipelines"].items():
        longest = max(one["stages"], key=lambda stage: one["stages"][stage]["seconds"])
        share = one["stages"][longest]["seconds"]
        lines.append(
            f"| {pipeline} | {_duration(one['seconds'])} | {one['peak_mib']:,.0f} MiB "
            f"| {longest}, {_duration(share)} |"
        )
    total = sum(one["seconds"] for one in kept["pipelines"].values())
    lines.append(f"| all | {_duration(total)} | | |")
    return "\n".join(lines) + f"\n\nMeasured on {kept['machine']}; default settings, {kept['beside']}."


def cost(root: Path, pipeline: str) -> str:
    """Wall time and peak memory of one pipeline by stage."""
    file = root / "reports" / "timings.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"pipelines": {}}
    one = kept["pipelines"].get(pipeline)
    if one is None:
        return "Of the default settings: not measured yet; the report page shows both for your machine."
    lines = ["| stage | time | peak memory |", "| --- | ---: | ---: |"]
    lines += [
        f"| {stage} | {_duration(found['seconds'])} | {found['peak_mib']:,.0f} MiB |"
        for stage, found in one["stages"].items()
    ]
    lines.append(f"| all | {_duration(one['seconds'])} | {one['peak_mib']:,.0f} MiB |")
    return "\n".join(lines) + f"\n\nDefault settings on {kept['machine']}."


def columns(root: Path, pipeline: str) -> str:
    """The columns of a pipeline's manifest, from the form that its reader uses."""
    form = importlib.import_module(f"pipelines.{pipeline}.own").OWN.form
    lines = ["| column | needed | what it holds | example |", "| --- | :---: | --- | --- |"]
    for column in form.columns:
        example = f"`{column.example}`".replace("|", "\\|") if column.example else ""
        aliases = f" (also called {', '.join(column.aliases)})" if column.aliases else ""
        needed = "yes" if column.needed else ""
        lines.append(
            f"| `{column.name}` | {needed} | {column.meaning.replace('|', chr(92) + '|')}{aliases} | {example} |"
        )
    return "\n".join(lines)


def fields(root: Path, _: str) -> str:
    """What a request to each served model holds, from the list that the server checks requests with."""
    lines = ["| model | field | needed | kind |", "| --- | --- | :---: | --- |"]
    for pipeline in pipelines(root):
        register = (root / "pipelines" / pipeline / "register.py").read_text(encoding="utf-8")
        package = re.search(r"from (\S+) import serve\b", register)
        if package is None:
            continue
        for field in importlib.import_module(f"{package[1]}.serve").FIELDS:
            kind = field.kind
            if field.shape:
                sides = " x ".join("any" if side is None else str(side) for side in field.shape)
                kind += " with one axis" if len(field.shape) == 1 else f", {sides}"
            if field.choices:
                kind += ": " + ", ".join(f"`{choice}`" for choice in field.choices)
            if field.default not in (None, False):
                kind += f"; `{field.default}` where it is left out"
            lines.append(f"| `{pipeline}` | `{field.name}` | {'yes' if field.required else ''} | {kind} |")
    return "\n".join(lines)


PARTS: dict[str, Callable[[Path, str], str]] = {
    "evidence": evidence,
    "results": results,
    "retrieval": retrieval,
    "timings": timings,
    "cost": cost,
    "columns": columns,
    "fields": fields,
}


def pipelines(root: Path) -> list[str]:
    """Names of all pipelines."""
    return sorted(path.parent.name for path in (root / "pipelines").glob("*/dvc.yaml"))


def read_evidence(root: Path, pipeline: str) -> dict[str, Any] | None:
    """The committed evidence of a pipeline, with its primary metric; None where there is none."""
    file = root / "reports" / pipeline / "evidence.json"
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    return {"primary": next(iter(next(iter(found["arms"].values())))), **found}


def filled(text: str, root: Path) -> str:
    """``text`` with every generated part made anew."""

    def new(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in PARTS:
            raise ValueError(f"generated part {name!r} is not known: use one of {', '.join(PARTS)}")
        return f"{match[1]}{PARTS[name](root, match['argument'])}\n{match[4]}"

    return PART.sub(new, text)


def pages(root: Path) -> list[Path]:
    """Pages that may hold generated parts."""
    return [root / "README.md", *sorted((root / "docs").glob("**/*.md"))]


def main() -> int:
    """Rewrite the pages, or with ``--check`` tell which are out of date."""
    new: dict[Path, bytes] = {}
    for page in pages(ROOT):
        text = page.read_text(encoding="utf-8")
        if "<!-- generated: " in text:
            new[page] = filled(text, ROOT).encode()
    stale = [path for path, content in new.items() if not path.is_file() or path.read_bytes() != content]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(
                f"{path.relative_to(ROOT)} is out of date: run python docs/generate_pages.py", file=sys.stderr
            )
        return 1 if stale else 0
    for path in stale:
        path.write_bytes(new[path])
        print(path.relative_to(ROOT))
    return 0


def _spread(values: list[float | None] | None) -> str:
    if values is None:
        return ""
    found = [value for value in values if value is not None]
    if len(found) < len(values):
        return "undefined"
    mean, spread = statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else 0.0
    return _number(mean) if spread == 0 else f"{_number(mean)} ± {_number(spread)}"


def _interval(difference: dict[str, float] | None, *, bold: bool = False) -> str:
    if difference is None:
        return ""
    mean, low, high = (difference[key] for key in ("mean", "low", "high"))
    if low == high == mean:
        return f"{mean:+,.0f}" if mean == round(mean) else f"{mean:+.3f}"
    words = f"{_number(mean, '+')} ({_number(low, '+')} to {_number(high, '+')})"
    return f"**{words}**" if bold and low * high > 0 else words


def _number(value: float, sign: str = "") -> str:
    """Three digits after the point, fewer for large numbers."""
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:{sign},.{digits}f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


if __name__ == "__main__":
    raise SystemExit(main())
