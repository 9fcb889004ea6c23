"""The report over all pipelines: one HTML page, one JSON summary, one table in the terminal."""

from core.report.page import build_report
from core.report.table import print_results

__all__ = ["build_report", "print_results"]
