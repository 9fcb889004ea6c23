"""Raster files: opened with messages that name what is wrong, shared within a process, never across one."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import DataError

MOST_OPEN = 96
_open_files: OrderedDict[tuple[int, str], Any] = OrderedDict()


class RasterError(DataError):
    """A raster that cannot be used; ``kind`` is a short fixed word to count by."""

    def __init__(self, kind: str, what: str, **parts: Any) -> None:
        super().__init__(what, **parts)
        self.kind = kind


def open_raster(path: str | os.PathLike[str]) -> Any:
    """Open a raster with rasterio; the message of a failure names the file and says what it is.

    Raises:
        RasterError: "missing", "empty" or "unreadable" (not a raster).
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    _mend_proj()
    file = Path(path)
    if not file.is_file():
        raise RasterError("missing", f"{path}", seen="no such file")
    if file.stat().st_size == 0:
        raise RasterError("empty", f"{path}", seen="0 bytes", remedy="fetch the file again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(file)
    except RasterioError as error:
        raise RasterError(
            "unreadable", f"{path} is no raster", seen=str(error)[-120:], remedy="fetch the file again"
        ) from None


def shared_raster(path: str) -> Any:
    """An open raster kept for this process; a fork or a spawned worker opens its own."""
    key = (os.getpid(), path)
    found = _open_files.pop(key, None)
    if found is None:
        found = open_raster(path)
    _open_files[key] = found
    while len(_open_files) > MOST_OPEN:
        (pid, _), oldest = _open_files.popitem(last=False)
        if pid == os.getpid():
            oldest.close()
    return found


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn a failure inside GDAL into a `RasterError` that carries its cause (a truncated file opens well)."""
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        cause = error.__cause__ or error
        raise RasterError(
            "damaged", f"{path} cannot be read to its end", seen=" ".join(str(cause).split())[-160:],
            remedy="fetch the file again",
        ) from None  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """Where pixels lie: CRS (None where unknown), affine transform, rows and columns."""

    crs: Any
    transform: Any
    height: int
    width: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in the units of the CRS, of a north-up grid."""
        t = self.transform
        return (t.c, t.f + t.e * self.height, t.c + t.a * self.width, t.f)


def grid_of(dataset: Any) -> Grid:
    """The grid of an open raster."""
    return Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)


def close_raster(path: str) -> None:
    """Close what this process holds open of a file."""
    found = _open_files.pop((os.getpid(), path), None)
    if found is not None:
        found.close()


def _mend_proj() -> None:
    """Ignore a PROJ path left by another program (conda, QGIS): systems could not be looked up with it."""
    for name in ("PROJ_DATA", "PROJ_LIB"):
        place = os.environ.get(name)
        if place and not (Path(place) / "proj.db").is_file():
            del os.environ[name]
