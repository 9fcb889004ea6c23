"""Draws `reports/<pipeline>/evidence.png` again from the committed `evidence.json`: `python docs/draw_evidence.py`."""

from __future__ import annotations

import json
from pathlib import Path

from core.evaluation.evidence import draw_evidence

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """One figure for each pipeline with evidence."""
    for path in sorted((ROOT / "reports").glob("*/evidence.json")):
        draw_evidence(json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".png"))
        print(path.with_suffix(".png").relative_to(ROOT))


if __name__ == "__main__":
    main()
