"""The demo data set: generated patients in the file layout of LIDC-IDRI, with what goes wrong in real ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from core.data.digest import digest_of
from core.files import atomic_directory
from core.learning.determinism import generator
from medical.ct.phantom import LENGTH_MM, Body, draw_body, mass_heights, slice_at

VERSION = 2
FOLDER = Path(".kindred/demo")
_ROOT_UID = "1.2.826.0.1.3680043.8.498.7"
_SPACINGS = (1.25, 2.0, 2.5, 4.0)
_SCANNERS = (("Alpha", "Helix 16"), ("Beta", "Spiral 64"))


def demo_root(
    *, patients: int, size: int, seed: int, density: float = 1.0, folder: str | os.PathLike[str] = FOLDER
) -> Path:
    """The folder of the demo data set, made when it is not there yet; the same settings give the same bytes.

    Args:
        patients: at least 4. size: side of a slice in pixels.
        density: of slices along the body; 1 puts 65 to 208 slices into a patient.
    """
    name = digest_of("ct demo", VERSION, patients, size, seed, density)[:16]
    target = Path(folder) / f"ct-{name}"
    if not target.is_dir():
        with atomic_directory(target) as scratch:
            write_demo(scratch, patients=patients, size=size, seed=seed, density=density)
    return target


def write_demo(root: Path, *, patients: int, size: int = 64, seed: int = 0, density: float = 1.0) -> None:
    """Write ``LIDC-IDRI-0001/STUDY/SERIES/1-001.dcm``, ..., with an ``.xml`` of nodules a series.

    Two of three patients have masses. Among the files: a localizer, a coronal series, a dose report, a
    screenshot, a truncated slice, a constant one, one without rescaling, a copy, and a series with a gap.
    """
    for number in range(patients):
        rng = generator(seed, "ct demo", number)
        masses = 0 if number % 3 == 2 else int(rng.integers(1, 4))
        body = draw_body(rng, masses)
        spacing = _SPACINGS[number % len(_SPACINGS)] / density
        _write_patient(root, number, body, spacing, size, rng)
    _write_trouble(root, size, generator(seed, "ct demo trouble"))


def _write_patient(
    root: Path, number: int, body: Body, spacing: float, size: int, rng: np.random.Generator
) -> None:
    patient = f"LIDC-IDRI-{number + 1:04d}"
    uid = f"{_ROOT_UID}.{number + 1}"
    folder = root / patient / f"{uid}.1" / f"{uid}.1.1"
    folder.mkdir(parents=True)
    heights = np.arange(0, LENGTH_MM, spacing)
    names = rng.permutation(len(heights)) + 1  # file numbers say nothing about the order
    for k, height in enumerate(heights):
        if number == 1 and 20 < height < 34:
            continue  # the gap
        pixels = slice_at(body, float(height), size, rng)
        header = _header(patient, f"{uid}.1.1", size, spacing, instance=int(names[k]))
        header.Manufacturer, header.ManufacturerModelName = _SCANNERS[number % len(_SCANNERS)]
        header.ImagePositionPatient = [-LENGTH_MM / 2, -LENGTH_MM / 2, round(-150.0 + float(height), 3)]
        _store(header, pixels, folder / f"1-{names[k]:03d}.dcm")
    outlines = [[z - 150.0 for z in zs] for zs in mass_heights(body, heights)]
    (folder / f"{number:03d}.xml").write_text(_annotation(f"{uid}.1.1", outlines), encoding="utf-8")


def _write_trouble(root: Path, size: int, rng: np.random.Generator) -> None:
    """What validation has to find, all in the first patient's folder but the one without rescaling."""
    first, uid = root / "LIDC-IDRI-0001", f"{_ROOT_UID}.1"
    body = draw_body(rng, 0)
    scout = first / f"{uid}.1" / f"{uid}.1.2"
    scout.mkdir()
    for k, turn in enumerate(([1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])):
        header = _header("LIDC-IDRI-0001", f"{uid}.1.2", size, 1.0, instance=k + 1)
        header.ImageType, header.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", "LOCALIZER"], turn
        header.ImagePositionPatient = [0, 0, 0]
        _store(header, slice_at(body, 100.0 + k, size, rng), scout / f"1-{k + 1:03d}.dcm")
    coronal = first / f"{uid}.1" / f"{uid}.1.3"
    coronal.mkdir()
    for k in range(12):
        header = _header("LIDC-IDRI-0001", f"{uid}.1.3", size, 5.0, instance=k + 1)
        header.ImageOrientationPatient, header.ImagePositionPatient = [1, 0, 0, 0, 0, -1], [0, 5.0 * k, 0]
        _store(header, slice_at(body, 100.0 + k, size, rng), coronal / f"1-{k + 1:03d}.dcm")
    axial = first / f"{uid}.1" / f"{uid}.1.1"
    files = sorted(axial.glob("*.dcm"))
    content = files[3].read_bytes()
    (axial / "2-001.dcm").write_bytes(files[5].read_bytes())  # a copy
    files[3].write_bytes(content[: len(content) // 2])
    for name, storage, modality in (
        ("dose", "1.2.840.10008.5.1.4.1.1.88.67", "SR"),
        ("screen", "1.2.840.10008.5.1.4.1.1.7", "CT"),
    ):
        header = _header("LIDC-IDRI-0001", f"{uid}.1.4", size, 1.0, instance=1)
        header.SOPClassUID, header.Modality = storage, modality
        header.file_meta.MediaStorageSOPClassUID = storage
        _store(header, np.zeros((size, size)), axial / f"3-{name}.dcm")
    last = sorted(root.glob("LIDC-IDRI-*"))[-1]
    target = sorted(last.rglob("*.dcm"))
    _edit(target[0], lambda header: header.__setattr__("PixelData", bytes(len(header.PixelData))))
    _edit(target[1], lambda header: header.__delattr__("RescaleIntercept"))


def _header(patient: str, series: str, size: int, spacing: float, *, instance: int) -> Any:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta: Any = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{series}.{instance}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = f"{_ROOT_UID}.0"
    header: Any = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, f"{series}.{instance}"
    header.StudyInstanceUID, header.SeriesInstanceUID = series.rsplit(".", 1)[0], series
    header.PatientID = header.PatientName = patient
    header.Modality, header.BodyPartExamined = "CT", "CHEST"
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.InstanceNumber = instance
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelSpacing = [round(LENGTH_MM / size * 1.35, 4)] * 2
    header.SliceThickness = round(spacing, 3)
    header.Rows = header.Columns = size
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    header.RescaleIntercept, header.RescaleSlope = -1024, 1
    return header


def _store(header: Any, hu: np.ndarray, path: Path) -> None:
    header.PixelData = np.clip(np.rint(hu + 1024), 0, 4095).astype("<u2").tobytes()
    header.save_as(path, enforce_file_format=True)


def _edit(path: Path, change: Any) -> None:
    import pydicom

    header = pydicom.dcmread(path)
    change(header)
    header.save_as(path)


def _annotation(uid: str, masses: list[list[float]]) -> str:
    """Nodule outlines as the readers of LIDC-IDRI wrote them: one region a slice."""
    nodules = "".join(
        f"<unblindedReadNodule><noduleID>{number}</noduleID>"
        + "".join(
            f"<roi><imageZposition>{z:.3f}</imageZposition><inclusion>TRUE</inclusion></roi>" for z in heights
        )
        + "</unblindedReadNodule>"
        for number, heights in enumerate(masses)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<LidcReadMessage xmlns="http://www.nih.gov"><ResponseHeader>'
        f"<SeriesInstanceUid>{escape(uid)}</SeriesInstanceUid></ResponseHeader>"
        f"<readingSession>{nodules}</readingSession></LidcReadMessage>\n"
    )
