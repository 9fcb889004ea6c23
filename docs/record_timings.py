"""Keeps what the last runs on this machine cost: `make repro`, then `python docs/record_timings.py [--beside TEXT]`.

Reads `.kindred/stages`, where every stage leaves its wall time and peak memory, and writes `reports/timings.json`, from
which the README and the pages take theirs. Pipelines that have not run here keep what is written there.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from core.files import read_json, write_json
from core.stage import stage_costs

ROOT = Path(__file__).resolve().parent.parent
QUIET = "nothing else running"


def record(root: Path, beside: str = QUIET) -> dict[str, Any]:
    """What `reports/timings.json` is to hold; ``beside``: what else the machine did."""
    file = root / "reports" / "timings.json"
    kept = read_json(file)["pipelines"] if file.is_file() else {}
    for definition in sorted((root / "pipelines").glob("*/dvc.yaml")):
        name = definition.parent.name
        found = stage_costs(name, root)
        stages = yaml.safe_load(definition.read_text(encoding="utf-8"))["stages"]
        if not set(stages) <= set(found["seconds"]):
            continue  # not run to its end here
        costs = {stage: {key: found[key][stage] for key in ("seconds", "peak_mib")} for stage in stages}
        kept[name] = {
            "seconds": round(sum(one["seconds"] for one in costs.values()), 1),
            "peak_mib": max(one["peak_mib"] for one in costs.values()),
            "stages": costs,
        }
    return {"machine": machine(), "beside": beside, "pipelines": {name: kept[name] for name in sorted(kept)}}


def machine() -> str:
    """Processor, cores and Python, in a line."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, Python {platform.python_version()}"


def main() -> int:
    """Write the file; 1 when nothing has run here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", default=QUIET, help="what else the machine did")
    found = record(ROOT, parser.parse_args().beside)
    if not found["pipelines"]:
        print("no pipeline has run to its end here: run `make repro` first", file=sys.stderr)
        return 1
    write_json(ROOT / "reports" / "timings.json", found)
    for name, one in found["pipelines"].items():
        print(f"{name}: {one['seconds']:.0f} s, {one['peak_mib']:.0f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
