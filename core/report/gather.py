"""Everything the report shows, as plain data: the content of ``summary.json``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from core.errors import DataError, KindredError
from core.report.evidence import evidence_view, read_evidence
from core.report.history import changes, previous_run
from core.stage import stage_costs
from core.tracking.registry import read_registered
from core.tracking.result import read_result
from core.tracking.run import flatten
from core.tracking.store import provenance


def gather(root: Path) -> dict[str, Any]:
    """Read every pipeline's outputs below ``root``.

    Returns:
        ``{"provenance", "pipelines": [...], "not_run": [...], "evidence": [...], "problems": [sentences]}``.
        A file that cannot be read becomes a problem; the other pipelines are shown all the same.
    """
    problems: list[str] = []
    pipelines, not_run, evidence = [], [], []
    for name in pipeline_names(root):
        if not (root / "outputs" / name / "metrics.json").is_file():
            not_run.append(name)
            continue
        try:
            pipelines.append(_pipeline(root, name))
        except KindredError as error:
            problems.append(str(error))
    for file in sorted((root / "reports").glob("*/evidence.json")):
        try:
            view = evidence_view(read_evidence(file))
        except KindredError as error:
            problems.append(str(error))
            continue
        images = [path.name for path in sorted(file.parent.iterdir()) if path.suffix in (".png", ".svg")]
        evidence.append({"pipeline": file.parent.name, **view, "figures": images})
    return {
        "provenance": provenance(root),
        "pipelines": pipelines,
        "not_run": not_run,
        "evidence": evidence,
        "problems": problems,
    }


def pipeline_names(root: Path) -> list[str]:
    """Names of all pipelines: those with a ``dvc.yaml`` and those with outputs."""
    defined = {path.parent.name for path in (root / "pipelines").glob("*/dvc.yaml")}
    ran = {path.parent.name for path in (root / "outputs").glob("*/metrics.json")}
    return sorted(defined | ran)


def _pipeline(root: Path, name: str) -> dict[str, Any]:
    folder = root / "outputs" / name
    result = read_result(folder / "metrics.json")
    if result.pipeline != name:
        raise DataError(f"pipeline in {folder / 'metrics.json'}", seen=result.pipeline, expected=name)
    registered = (
        read_registered(folder / "registered.json") if (folder / "registered.json").is_file() else None
    )
    before = previous_run(root, result, registered.version if registered else None)
    differences = changes(result, before)
    metrics = [
        {
            "name": key,
            "primary": key == result.primary.name,
            "change": differences.get(key),
            **metric.model_dump(),
        }
        for key, metric in result.metrics.items()
    ]
    costs = _costs(root, name)
    return {
        "name": name,
        "title": result.title,
        "source": result.source,
        "demo": result.demo,
        "data_digest": result.data_digest,
        "evaluation_digest": result.comparable,
        "primary": result.primary.model_dump(),
        "metrics": sorted(metrics, key=lambda metric: (not metric["primary"], metric["baseline"])),
        "figures": [figure.model_dump() for figure in result.figures],
        "tables": [table.model_dump() for table in result.tables],
        "notes": list(result.notes),
        "costs": costs,
        "seconds": sum(cost["seconds"] for cost in costs) or None,
        "peak_mib": max((cost["peak_mib"] or 0.0 for cost in costs), default=0.0) or None,
        "params": flatten(_yaml(root / "pipelines" / name / "params.yaml")),
        "model": asdict(registered) if registered else None,
        "previous": before,
    }


def _costs(root: Path, name: str) -> list[dict[str, Any]]:
    """Seconds and peak MiB by stage on this machine, in the order of ``dvc.yaml``."""
    try:
        known = stage_costs(name, root)
    except (KindredError, KeyError, TypeError):
        return []  # a damaged record costs one figure, not the report
    return [
        {"stage": stage, "seconds": known["seconds"][stage], "peak_mib": known["peak_mib"].get(stage)}
        for stage in _stages(root / "pipelines" / name / "dvc.yaml")
        if stage in known["seconds"]
    ]


def _stages(file: Path) -> list[str]:
    stages = _yaml(file).get("stages")
    return [str(name) for name in stages] if isinstance(stages, dict) else []


def _yaml(file: Path) -> dict[str, Any]:
    """A YAML mapping; empty where there is none, or none that can be read."""
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return raw if isinstance(raw, dict) else {}
