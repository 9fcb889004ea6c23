"""The served model: any of film, ECG and text in; embedding, nearest known cases and finding probabilities out.

A row holds at least one of ``film`` (a PNG, JPEG or DICOM file as base64) or ``pixels`` (numbers in 0..1, bone
bright), ``ecg`` with ``ecg_rate`` (leads x samples in mV), and ``text``. No file or URL that a request names is opened.

MLflow runs this file as it is ("models from code"): nothing is pickled.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import mlflow
import numpy as np
from mlflow.types import DataType
from mlflow.types.schema import Array, Object, Property

from core.errors import ServingError
from core.tracking.package import checked_artifacts
from core.tracking.serving import Field, guarded, read_request, request_signature
from medical.alignment.cases import Cases, fuse, load_cases
from medical.alignment.data.film import read_film
from medical.alignment.evaluate import SUBSETS, zero_shot_scores
from medical.alignment.model.folder import load_space
from medical.alignment.objective import MODALITIES
from medical.alignment.prompts import parse_prompts
from medical.alignment.space import Space
from medical.ecg.data.conform import conform
from medical.ecg.data.leads import LEADS
from medical.ecg.data.recording import Recording

REQUEST_MIB = 48.0
MOST_ROWS = 64
FIELDS = (
    Field("film", "text", required=False, longest=40_000_000),
    Field("pixels", "array", required=False, longest=20_000_000, shape=(None, None)),
    Field("ecg", "array", required=False, longest=2_000_000, shape=(None, None)),
    Field("ecg_rate", "number", required=False, low=25, high=5000),
    Field("ecg_leads", "text", required=False, default=",".join(LEADS), longest=500),
    Field("text", "text", required=False, longest=20_000),
    Field("top", "integer", required=False, default=5, low=1, high=100),
)
_CASE = {"id": DataType.string, "score": DataType.double, "modalities": DataType.string}


def signature() -> Any:
    """What a request may hold and what comes back: one answer a row."""
    case = Object([Property(name, kind) for name, kind in _CASE.items()])
    finding = Object(
        [
            Property("finding", DataType.string),
            Property("probability", DataType.double, required=False),
            Property("zero_shot", DataType.double, required=False),
        ]
    )
    answer: dict[str, Any] = {
        "modalities": "string",
        "embedding": Array(DataType.double),
        "nearest": Array(case),
        "findings": Array(finding),
    }
    return request_signature(FIELDS, answer)


def input_example(space: Space) -> Any:
    """Two requests, as a table: a made-up film with a sentence, and a made-up ECG with another."""
    import pandas as pd

    time = np.arange(round(space.preprocessing.seconds * 100)) / 100
    beats = np.exp(-(((time % 0.8) - 0.4) ** 2) / 0.0004)
    ecg = np.stack([beats * (0.3 + 0.1 * lead) for lead in range(12)]).round(3)
    y, x = np.mgrid[0:128, 0:128] / 128
    film = (0.3 + 0.5 * np.exp(-((x - 0.5) ** 2) / 0.02) + 0.1 * y).clip(0, 1).round(3)
    rows = [
        {"pixels": film.tolist(), "ecg": None, "ecg_rate": None, "text": "The heart is enlarged.", "top": 2},
        {"pixels": None, "ecg": ecg.tolist(), "ecg_rate": 100.0, "text": "Sinus rhythm.", "top": 3},
    ]
    return pd.DataFrame(rows)


class AlignmentService(mlflow.pyfunc.PythonModel):
    """Answers rows of `FIELDS`; see the module.

    Each row gives ``{"modalities", "embedding", "nearest": [{"id", "score", "modalities"}], "findings": [{"finding",
    "probability", "zero_shot"}]}``: the probability of the fitted head, and the score of the prompts in standard
    deviations over the validation cases (only where a film or an ECG was sent).
    """

    def __init__(self, space: Space | None = None, cases: Cases | None = None) -> None:
        self.space, self.cases = space, cases

    def load_context(self, context: Any) -> None:
        """Check every file of the model against its SHA-256 and load it."""
        artifacts = checked_artifacts(context)
        self.space, self.cases = load_space(artifacts["model"]), load_cases(artifacts["cases"])

    @guarded
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
        """One answer for each row of the request; see the class."""
        assert self.space is not None
        assert self.cases is not None
        rows = read_request(model_input, FIELDS, max_rows=MOST_ROWS)
        return [answer(self.space, self.cases, row, number) for number, row in enumerate(rows)]


def answer(space: Space, cases: Cases, row: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """What one checked row gets, whatever rows come with it."""
    found: dict[str, np.ndarray] = {}
    pixels = _pixels(row, number)
    if pixels is not None:
        found["xray"] = space.embed_films([space.preprocessing.film(pixels)])
    if row["ecg"] is not None:
        found["ecg"] = space.embed_signals([space.preprocessing.signal(_millivolts(space, row, number))])
    if row["text"] is not None:
        found["text"] = space.embed_texts([row["text"]])
    if not found:
        raise ServingError(
            f"row {number}", seen="nothing", expected="at least one of film, pixels, ecg and text"
        )
    names = [name for name in MODALITIES if name in found]
    present = np.array([[name in found for name in MODALITIES]])
    rows = np.stack([found.get(name, np.zeros((1, space.dim), np.float32)) for name in MODALITIES], axis=1)
    return {
        "modalities": "+".join(names),
        "embedding": fuse(rows, present)[0].astype(float).tolist(),
        "nearest": cases.nearest(space, found, row["top"]),
        "findings": findings(space, found, rows, present),
    }


def findings(
    space: Space, found: dict[str, np.ndarray], rows: np.ndarray, present: np.ndarray
) -> list[dict[str, Any]]:
    """Probability and calibrated zero-shot score of each finding that the model knows."""
    result: dict[str, dict[str, Any]] = {}
    if space.head is not None:
        for name, value in zip(space.head.labels, space.head.probabilities(rows, present)[0], strict=True):
            result[name] = {"finding": name, "probability": float(value)}
    seen = tuple(name for name in ("xray", "ecg") if name in found)
    subset = next((key for key, members in SUBSETS.items() if members == seen), "")
    scales = space.calibration.get(subset, {})
    if scales:
        names = list(scales)
        prompts = parse_prompts(space.prompts)
        scores = zero_shot_scores(space, {name: found[name] for name in seen}, prompts, names)[0]
        for name, value in zip(names, scores, strict=True):
            mean, spread = scales[name]
            result.setdefault(name, {"finding": name})["zero_shot"] = float((value - mean) / spread)
    return list(result.values())


def _pixels(row: dict[str, Any], number: int) -> np.ndarray | None:
    if row["film"] is not None and row["pixels"] is not None:
        raise ServingError(f"row {number}", seen="film and pixels", expected="one of them")
    if row["film"] is not None:
        try:
            content = base64.b64decode(row["film"], validate=True)
        except (binascii.Error, ValueError):
            raise ServingError(
                f"film in row {number}", expected="a whole PNG, JPEG or DICOM file as base64",
                remedy="send the file's bytes; the server opens no path or URL",
            ) from None  # fmt: skip
        return read_film(content, name=f"film in row {number}").pixels
    if row["pixels"] is None:
        return None
    values = np.asarray(row["pixels"])
    if min(values.shape) < 32 or values.min() < 0 or values.max() > 1 or values.std() < 1e-3:
        raise ServingError(
            f"pixels in row {number}", seen=f"{values.shape}, {values.min():.3g} to {values.max():.3g}",
            expected="at least 32 x 32 numbers in 0..1 that are not all alike", remedy="divide 8-bit values by 255",
        )  # fmt: skip
    return values


def _millivolts(space: Space, row: dict[str, Any], number: int) -> np.ndarray:
    if row["ecg_rate"] is None:
        raise ServingError(f"ecg_rate in row {number} is missing", expected="samples a second of the ECG")
    leads = tuple(name.strip() for name in row["ecg_leads"].split(","))
    signal = np.asarray(row["ecg"], dtype=np.float32)
    if signal.shape[0] != len(leads):
        raise ServingError(
            f"ecg in row {number}",
            seen=signal.shape,
            expected=f"({len(leads)}, samples), as ecg_leads names them",
        )
    units = ("mV",) * len(leads)
    recording = Recording(signal.T, row["ecg_rate"], leads, units, source=f"ecg in row {number}")
    return conform(recording, space.preprocessing.form).signal


mlflow.models.set_model(AlignmentService())
