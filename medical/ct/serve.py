"""The served model: series of slices in, and for each slice its embedding and whether it is a near-duplicate.

The hashes of the kept slices travel with the model, as the artifact ``index`` beside ``encoder``.
MLflow runs this file as it is ("models from code"): nothing is pickled.
"""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
from mlflow.types import DataType
from mlflow.types.schema import Array, Object, Property

from core.errors import ServingError
from core.tracking.package import checked_artifacts
from core.tracking.serving import Field, guarded, read_request, request_signature
from medical.ct.hamming import reduce_hashes
from medical.ct.hashing import dhash
from medical.ct.images import shrink
from medical.ct.index import HashIndex, open_index
from medical.ct.window import to_bytes

MOST_SERIES = 16
_PIXELS = 64 * 512 * 512
_LOWEST, _HIGHEST = -32768.0, 32767.0
FIELDS = (Field("hounsfield", "array", longest=_PIXELS, shape=(None, None, None)),)
_RESULT = {
    "exemplar": DataType.string,
    "distance": DataType.long,
    "duplicate": DataType.boolean,
    "keep": DataType.boolean,
    "first_like_it": DataType.long,
    "hash": DataType.string,
}


def signature() -> Any:
    """What a request may hold and what comes back: one answer a series, which holds one result a slice."""
    properties: list[Any] = [Property(name, kind) for name, kind in _RESULT.items()]
    properties.append(Property("embedding", Array(DataType.double)))
    answer: dict[str, Any] = {"threshold": "long", "window": "string", "slices": Array(Object(properties))}
    return request_signature(FIELDS, answer)


def input_example() -> Any:
    """Two series of two slices: soft tissue in air, once shifted."""
    import pandas as pd

    place = np.arange(32.0)
    disc = np.hypot(place[:, None] - 16, place[None] - 14) < 10
    slices = [np.where(np.roll(disc, shift, axis=1), 40.0, -1000.0).tolist() for shift in (0, 0, 5)]
    return pd.DataFrame({"hounsfield": [slices[:2], slices[1:]]})


class CTReduction(mlflow.pyfunc.PythonModel):
    """Answers rows ``{"hounsfield": [slice, slice, ...]}``: a series, or one slice in a list of its own.

    Slices are (rows, columns) in Hounsfield units, ordered from feet to head, columns growing to the
    patient's left and rows to the back. Each gives

    - ``exemplar``: the kept slice of the training data whose hash is nearest; ``distance`` in bits;
      ``duplicate``: whether that is within the threshold,
    - ``keep``: whether the slice stays when this series is reduced by itself, and ``first_like_it``: the
      number of the slice that stands for it,
    - ``embedding`` of the pretrained encoder, and ``hash``.
    """

    def __init__(self, encoder: Any = None, index: HashIndex | None = None) -> None:
        self.encoder, self.index = encoder, index

    def load_context(self, context: Any) -> None:
        """Check every file of the model against its SHA-256, then load both parts."""
        from medical.ct.model import load_encoder

        artifacts = checked_artifacts(context)
        self.encoder, self.index = load_encoder(artifacts["encoder"]), open_index(artifacts["index"])

    @guarded
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
        """One answer for each row of the request; see the class."""
        rows = read_request(model_input, FIELDS, max_rows=MOST_SERIES)
        return [self._answer(row["hounsfield"], number) for number, row in enumerate(rows)]

    def _answer(self, series: np.ndarray, number: int) -> dict[str, Any]:
        assert self.index is not None
        index = self.index
        if min(series.shape[1:]) < 16:
            raise ServingError(
                f"slices of row {number}", seen=series.shape[1:], expected="at least 16 x 16 pixels"
            )
        if series.min() < _LOWEST or series.max() > _HIGHEST:
            raise ServingError(
                f"values of row {number}",
                seen=(float(series.min()), float(series.max())),
                expected="Hounsfield units",
            )
        images = [to_bytes(one, index.window) for one in series]
        codes = np.stack([dhash(image, index.hash_size) for image in images])
        own = reduce_hashes(codes, index.threshold)
        embeddings = self.encoder.embed(np.stack([shrink(image, self.encoder.size) for image in images]))
        return {
            "threshold": index.threshold,
            "window": index.window,
            "slices": [
                {
                    "exemplar": near.exemplar,
                    "distance": near.distance,
                    "duplicate": near.duplicate,
                    "keep": int(own.representative[place]) == place,
                    "first_like_it": int(own.representative[place]),
                    "hash": near.code,
                    "embedding": [float(value) for value in embeddings[place]],
                }
                for place, near in enumerate(index.nearest(codes))
            ],
        }


mlflow.models.set_model(CTReduction())
