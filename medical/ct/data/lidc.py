"""Annotations of LIDC-IDRI: at which heights a reader outlined a nodule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from core.errors import DataError
from medical.ct.data.series import Series

_LARGEST = 64 * 2**20


def nodule_heights(files: Sequence[Path]) -> dict[str, list[float]]:
    """Series uid -> heights (mm) of all nodule outlines that a reader meant to include.

    Args:
        files: ``.xml`` files as LIDC-IDRI puts them beside the slices of a series; others are passed over.

    Raises:
        DataError: a file that is not XML.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for file in files:
        if file.stat().st_size > _LARGEST:
            raise DataError(
                f"{file}", seen=f"{file.stat().st_size} bytes", expected="an annotation of some kB"
            )
        try:
            root = ElementTree.parse(file).getroot()
        except ElementTree.ParseError as error:
            raise DataError(f"{file} is not XML", seen=str(error), remedy="get the file again") from None
        uid = root.findtext("{*}ResponseHeader/{*}SeriesInstanceUid")
        if not root.tag.endswith("LidcReadMessage") or uid is None:
            continue
        heights = found[uid.strip()]
        for outline in root.iterfind("{*}readingSession/{*}unblindedReadNodule/{*}roi"):
            height = outline.findtext("{*}imageZposition")
            if height and (outline.findtext("{*}inclusion") or "TRUE").strip().upper() == "TRUE":
                heights.append(float(height))
    return dict(found)


def labels_at(series: Series, heights: Sequence[float]) -> tuple[int, ...]:
    """1 for the slices that lie within half a distance of a height, 0 for the others.

    >>> from medical.ct.data.series import Slice
    >>> labels_at(Series("u", "p", "dicom", tuple(Slice("", 0, z) for z in (0.0, 2.0, 4.0))), [2.4])
    (0, 1, 0)
    """
    reach = series.spacing_mm / 2 or 0.5
    return tuple(int(any(abs(one.z_mm - z) <= reach for z in heights)) for one in series.slices)
