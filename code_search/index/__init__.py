"""Indexing a repository and asking it: `build_index`, `open_index`, and what they return."""

from code_search.index.build import Report, build_index
from code_search.index.files import Options
from code_search.index.query import Index, open_index
from code_search.index.result import Result, Results
from code_search.index.store import export_snapshot

__all__ = ["Index", "Options", "Report", "Result", "Results", "build_index", "export_snapshot", "open_index"]
