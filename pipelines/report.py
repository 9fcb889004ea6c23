"""Stage `report`: one page and one summary over all pipelines, from what their last stages wrote."""

from __future__ import annotations

import sys
from pathlib import Path

from core.errors import KindredError
from core.files import disk_trouble
from core.report import build_report


def main() -> int:
    """Build the report below the working folder; 2 when an input could not be read, or the page not written."""
    try:
        summary = build_report(Path.cwd())
    except KindredError as error:
        print(f"error in report: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if not disk_trouble(error):
            raise
        print(f"error in report: {disk_trouble(error)}", file=sys.stderr)
        return 2
    for problem in summary["problems"]:
        print(f"error in report: {problem}", file=sys.stderr)
    return 2 if summary["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
