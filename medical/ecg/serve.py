"""The served model: ECGs in, probabilities out, each with the training recordings that it rests on.

A row holds either ``signal``, ``fs`` and ``leads`` (and ``unit``, mV by default), or a WFDB record as ``header``
(the text of the .hea file) and ``data`` (the bytes of its signal file in base64). Recordings are brought to the
model's form by the code that prepared the training data; what was changed is in ``notes``.

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
from medical.ecg.data.conform import conform
from medical.ecg.data.leads import LEADS
from medical.ecg.data.recording import Recording
from medical.ecg.data.wfdb import decode, parse_header
from medical.ecg.explain import explain
from medical.ecg.model.network import PrototypeNetwork

MOST_ROWS = 64
LONGEST = 12 * 60_000
FIELDS = (
    Field("signal", "array", required=False, shape=(None, None), longest=LONGEST),
    Field("fs", "number", required=False, low=10, high=10_000),
    Field("leads", "text", required=False, default=",".join(LEADS), longest=500),
    Field("unit", "text", required=False, default="mV", choices=("mV", "uV", "V")),
    Field("header", "text", required=False, longest=20_000),
    Field("data", "text", required=False, longest=6_000_000),
    Field("threshold", "number", required=False, default=0.5, low=0.0, high=1.0),
    Field("top", "integer", required=False, default=5, low=1, high=50),
)
_WINDOW = ("start_s", "end_s", "window_share", "prototype_start_s", "prototype_end_s")
_NUMBERS = ("similarity", "weight", "contribution", *_WINDOW)


def signature() -> Any:
    """What a request may hold and what comes back."""
    texts = dict.fromkeys(("branch", "ecg_id", "patient_id"), DataType.string)
    numbers = dict.fromkeys(_NUMBERS, DataType.double)
    contribution = Object(
        [
            Property("prototype", DataType.long),
            Property("classes", Array(DataType.string)),
            *(Property(name, kind) for name, kind in (texts | numbers).items()),
        ]
    )
    label = Object(
        [
            Property("label", DataType.string),
            *(Property(name, DataType.double) for name in ("probability", "logit", "bias", "rest")),
            Property("contributions", Array(contribution)),
        ]
    )
    likely = Object([Property("label", DataType.string), Property("probability", DataType.double)])
    answers: dict[str, Any] = {
        "probabilities": Array(likely),
        "labels": Array(label),
        "notes": Array(DataType.string),
    }
    return request_signature(FIELDS, answers)


def input_example() -> Any:
    """Two generated recordings, as a table."""
    import pandas as pd

    from medical.ecg.demo import FS, make_record

    rows = []
    for seed in (1, 2):
        record = make_record(np.random.default_rng(seed))
        signal = np.round(record.signal.T, 3).tolist()
        rows.append({"signal": signal, "fs": float(FS), "leads": ",".join(LEADS), "unit": "mV"})
    return pd.DataFrame(rows)


def recording_of(row: dict[str, Any], number: int) -> Recording:
    """The recording in a row of a request."""
    name = f"row {number}"
    if row["header"] is not None or row["data"] is not None:
        if row["header"] is None or row["data"] is None or row["signal"] is not None:
            raise ServingError(f"{name}", expected="header and data together, and no signal")
        try:
            content = base64.b64decode(row["data"], validate=True)
        except (binascii.Error, ValueError):
            raise ServingError(f"data in {name}", expected="the bytes of the signal file in base64") from None
        header = parse_header(row["header"], where=f"header in {name}")
        files = {channel.file for channel in header.channels}
        if len(files) != 1:
            raise ServingError(f"header in {name}", seen=f"{len(files)} signal files", expected="one")
        return decode(header, {files.pop(): content}, where=name)
    if row["signal"] is None or row["fs"] is None:
        raise ServingError(f"{name}", expected="signal with fs and leads, or header with data")
    leads = tuple(part.strip() for part in row["leads"].split(",") if part.strip())
    signal = np.asarray(row["signal"], dtype=np.float32)
    if signal.shape[1] != len(leads):
        if signal.shape[0] != len(leads):
            raise ServingError(
                f"signal in {name}",
                seen=signal.shape,
                expected=f"(samples, {len(leads)}), a column for each lead",
            )
        signal = signal.T
    return Recording(signal, row["fs"], leads, (row["unit"],) * len(leads), source=name)


class EcgPrototypes(mlflow.pyfunc.PythonModel):
    """Answers each row with ``{"probabilities", "labels", "notes"}``.

    ``probabilities`` lists every label; ``labels`` explains those above ``threshold`` (the likeliest one always),
    see `medical.ecg.explain.explain`: bias + rest + the listed contributions is the logit.
    """

    def __init__(self, network: PrototypeNetwork | None = None) -> None:
        self.network = network

    def load_context(self, context: Any) -> None:
        """Check every file of the model against its SHA-256 and load the network."""
        from medical.ecg.model.folder import load_network

        self.network = load_network(checked_artifacts(context)["network"])

    @guarded
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
        """One answer for each row of the request; see the class."""
        assert self.network is not None
        form = self.network.preprocessing.form
        answers = []
        for number, row in enumerate(read_request(model_input, FIELDS, max_rows=MOST_ROWS)):
            done = conform(recording_of(row, number), form)
            account = explain(
                self.network, done.signal[None], threshold=row["threshold"], top=row["top"], ids=[str(number)]
            )[0]
            for one in account["labels"]:
                del one["by_branch"]
            answers.append(
                {
                    "probabilities": [
                        {"label": label, "probability": p} for label, p in account["probabilities"].items()
                    ],
                    "labels": account["labels"],
                    "notes": [f"{note.kind}: {note.reason}" for note in done.notes],
                }
            )
        return answers


mlflow.models.set_model(EcgPrototypes())
