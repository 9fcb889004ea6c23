"""The served model: a table of sounds or sentences in; tags, embeddings and timelines out.

A row holds ONE of ``audio`` (a whole file as base64), ``samples`` with ``sample_rate`` (mono numbers in
-1..1), or ``text``. No file or URL that a request names is opened.

MLflow runs this file as it is ("models from code"): nothing is pickled.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from typing import Any

import mlflow
import numpy as np
from mlflow.types import DataType
from mlflow.types.schema import Array, Object, Property

from audio_language.audio_file import SHORTEST_SECONDS, read_audio
from audio_language.embed import SoundModel
from core.errors import ServingError
from core.tracking.package import checked_artifacts
from core.tracking.serving import Field, guarded, read_request, request_signature

REQUEST_MIB = 32.0
LONGEST_SECONDS = 600.0
MOST_ROWS = 64
MOST_LABELS = 200
FIELDS = (
    Field("audio", "text", required=False, longest=40_000_000),
    Field("samples", "array", required=False, longest=30_000_000, shape=(None,)),
    Field("sample_rate", "integer", required=False, low=1000, high=400_000),
    Field("text", "text", required=False, longest=2000),
    Field("labels", "text", required=False, longest=20_000),
    Field("top", "integer", required=False, default=3, low=1, high=100),
    Field("timeline", "boolean", required=False, default=False),
)
_TAG = {"label": DataType.string, "score": DataType.double}
_EVENT = {"start": DataType.double, "end": DataType.double, **_TAG}


def signature() -> Any:
    """What a request may hold and what comes back: one answer a row."""
    tags, events = (Array(Object([Property(n, k) for n, k in fields.items()])) for fields in (_TAG, _EVENT))
    answer: dict[str, Any] = {
        "kind": "string",
        "embedding": Array(DataType.double),
        "tags": tags,
        "timeline": events,
    }
    return request_signature(FIELDS, answer)


def input_example() -> Any:
    """Two requests, as a table: a low and a high tone, as files."""
    import pandas as pd

    rows = [{"audio": _tone_file(hertz), "top": 2, "timeline": True} for hertz in (220, 1760)]
    return pd.DataFrame(rows)


class SoundService(mlflow.pyfunc.PythonModel):
    """Answers rows of `FIELDS`; see the module.

    Each row gives ``{"kind": "audio" or "text", "embedding", "tags": [{"label", "score"}], "timeline":
    [{"start", "end", "label", "score"}]}``. ``labels`` (separated by ``|``) replace the model's own.
    """

    def __init__(self, model: SoundModel | None = None) -> None:
        self.model = model

    def load_context(self, context: Any) -> None:
        """Check every file of the model against its SHA-256 and load it."""
        from audio_language.model.folder import load_model

        self.model = load_model(checked_artifacts(context)["model"])

    @guarded
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
        """One answer for each row of the request; see the class."""
        assert self.model is not None
        rows = read_request(model_input, FIELDS, max_rows=MOST_ROWS)
        return [answer(self.model, row, number) for number, row in enumerate(rows)]


def answer(model: SoundModel, row: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """What one checked row gets."""
    given = [name for name in ("audio", "samples", "text") if row[name] is not None]
    if len(given) != 1:
        raise ServingError(f"row {number}", seen=given, expected="exactly one of audio, samples and text")
    if row["text"] is not None:
        vector = model.embed_texts([row["text"]])[0]
        return {"kind": "text", "embedding": vector.astype(float).tolist(), "tags": [], "timeline": []}
    wave, rate = _waveform(row, number)
    vector = model.embed_wave(wave, rate)
    labels = _labels(row["labels"], number) or model.labels
    tags: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    if labels:
        shares = model.probabilities(model.tag_scores(vector[None], labels))[0]
        order = np.argsort(-shares, kind="stable")[: row["top"]]
        tags = [{"label": labels[index], "score": float(shares[index])} for index in order]
    if row["timeline"]:
        from audio_language.timeline import timeline

        found = timeline(model, wave, rate=rate, labels=labels)
        events = [{"start": e.start, "end": e.end, "label": e.label, "score": e.score} for e in found.events]
    return {"kind": "audio", "embedding": vector.astype(float).tolist(), "tags": tags, "timeline": events}


def _waveform(row: dict[str, Any], number: int) -> tuple[np.ndarray, int]:
    if row["audio"] is not None:
        try:
            content = base64.b64decode(row["audio"], validate=True)
        except (binascii.Error, ValueError):
            raise ServingError(
                f"audio in row {number}", expected="a whole audio file as base64",
                remedy="send the file's bytes; the server opens no path or URL",
            ) from None  # fmt: skip
        with tempfile.NamedTemporaryFile(prefix="kindred-sound-") as file:
            file.write(content)
            file.flush()
            found = read_audio(file.name, name=f"in row {number}", longest_seconds=LONGEST_SECONDS)
        return found.wave, found.rate
    rate = row["sample_rate"]
    if rate is None:
        raise ServingError(
            f"sample_rate in row {number} is missing", expected="samples a second of the samples"
        )
    wave = row["samples"]
    if not SHORTEST_SECONDS <= len(wave) / rate <= LONGEST_SECONDS:
        raise ServingError(
            f"samples in row {number}", seen=f"{len(wave) / rate:.3f} s",
            expected=f"{SHORTEST_SECONDS} to {LONGEST_SECONDS:g} s",
        )  # fmt: skip
    if np.abs(wave).max() > 8:
        raise ServingError(
            f"samples in row {number}", seen=float(np.abs(wave).max()), expected="numbers in -1..1",
            remedy="divide 16-bit integers by 32768",
        )  # fmt: skip
    return wave.astype(np.float32), rate


def _labels(text: str | None, number: int) -> list[str]:
    labels = [label.strip() for label in (text or "").split("|") if label.strip()]
    if len(labels) > MOST_LABELS:
        raise ServingError(f"labels in row {number}", seen=len(labels), expected=f"at most {MOST_LABELS}")
    return labels


def _tone_file(hertz: float) -> str:
    import io

    import soundfile

    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(4000) / 8000)
    out = io.BytesIO()
    soundfile.write(out, wave.astype(np.float32), 8000, format="FLAC")
    return base64.b64encode(out.getvalue()).decode()


mlflow.models.set_model(SoundService())
