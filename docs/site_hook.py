"""What the site takes from outside docs/: evidence figures, and the pages that stand at the root of the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"security.md": "SECURITY.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add them under names of their own."""
    figures = sorted((ROOT / "reports").glob("*/evidence.png"))
    for place, path in {
        **{place: ROOT / name for place, name in PAGES.items()},
        **{path.relative_to(ROOT).as_posix(): path for path in figures},
    }.items():
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that lead out of docs/ to a figure lead to its place on the site."""
    return markdown.replace("](../../reports/", "](../reports/")
