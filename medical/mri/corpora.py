"""From the settings of a data source to the listing of its volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import ConfigError
from medical.mri.data.case import Listing
from medical.mri.data.layouts import read_acdc, read_mmwhs, read_msd, read_own
from medical.mri.demo import write_demo

SOURCES = ("demo", "acdc", "msd", "mmwhs", "manifest")


def list_volumes(
    source: str,
    *,
    root: str | None,
    demo_folder: Path,
    manifest: str | None = None,
    structures: Sequence[str] = (),
    channel: int | None = None,
    official_split: bool = False,
    fractions: Mapping[str, float],
    seed: int = 0,
    demo: Mapping[str, object] | None = None,
) -> Listing:
    """The volumes of a source, not opened yet; the demo is written to ``demo_folder`` first.

    Args:
        source: one of `SOURCES`. root: its folder; not used for the demo.
        manifest: CSV of own data, relative to ``root`` or the working folder.
        fractions, seed: of a manifest's splits, where it names none.
        demo: of `medical.mri.demo.write_demo`.
        The others as in `medical.mri.data.layouts`.
    """
    if source == "demo":
        return read_acdc(write_demo(demo_folder, **(demo or {})))  # type: ignore[arg-type]
    if root is None or source not in SOURCES:
        raise ConfigError(
            "(data.source, data.root)", seen=(source, root), expected=f"one of {SOURCES}, a folder"
        )
    if source == "acdc":
        return read_acdc(root, official_split=official_split)
    if source == "msd":
        return read_msd(root, channel=channel)
    if source == "mmwhs":
        return read_mmwhs(root)
    table = Path(manifest or "manifest.csv")
    table = table if table.is_file() else Path(root) / table
    return read_own(table, root=root, structures=structures, fractions=fractions, seed=seed, channel=channel)
