"""The served model: patches with named bands and a stated scale in, class probabilities, embedding and map out.

MLflow runs this file as it is ("models from code"): nothing is pickled.
"""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np

from core.errors import DataError, ServingError
from core.tracking.package import checked_artifacts
from core.tracking.serving import Field, guarded, read_request, request_signature
from earth_observation.bands import filled_note, order_by_name
from earth_observation.data.scale import FITTING, Scale
from earth_observation.data.scale import RULES as ALL_RULES
from earth_observation.model import LandCover, load_model, stride_of

MOST_ROWS = 64
MOST_SIDE, LEAST_SIDE = 512, 8
MOST_NUMBERS = 13 * MOST_SIDE**2
REQUEST_MIB = 48.0
RULES = tuple(rule for rule in ALL_RULES if rule != "auto")
FIELDS = (
    Field("pixels", "array", longest=MOST_NUMBERS, shape=(None, None, None)),
    Field("bands", "text", longest=500),
    Field("scale", "text", choices=RULES),
    Field("nodata", "number", required=False),
    Field("map", "boolean", required=False, default=False),
)


def signature() -> Any:
    """``pixels`` (bands, rows, columns) with their ``bands`` by name, as "B2,B3,..." and their ``scale``."""
    from mlflow.types import DataType
    from mlflow.types.schema import Array, Object, Property

    one = Object([Property("name", DataType.string), Property("probability", DataType.double)])
    answer: dict[str, Any] = {
        "classes": Array(one),
        "embedding": Array(DataType.double),
        "known": "double",
        "map": Array(Array(DataType.long)),
        "notes": Array(DataType.string),
    }
    return request_signature(FIELDS, answer)


def input_example(model: LandCover) -> Any:
    """Two small patches for this model's bands, as a table."""
    import pandas as pd

    rows = []
    mean = np.array(model.normalisation.mean)[:, None, None]
    std = np.array(model.normalisation.std)[:, None, None]
    for seed in (0, 1):
        noise = np.random.default_rng(seed).normal(size=(len(mean), 16, 16))
        pixels = np.round(mean + 0.5 * std * noise, 1)
        if model.sensor.unit == "dn":
            pixels = np.maximum(pixels, 1)
        rows.append(
            {
                "pixels": pixels.tolist(),
                "bands": ",".join(model.sensor.bands),
                "scale": FITTING[model.sensor.unit][0],
                "map": bool(seed) and model.decoder is not None,
            }
        )
    return pd.DataFrame(rows)


class LandCoverService(mlflow.pyfunc.PythonModel):
    """Answers rows of `FIELDS` with ``{"classes", "embedding", "known", "map", "notes"}``.

    ``classes`` holds every class with its probability, the likeliest first; ``known`` the share of pixels that
    are not ``nodata``; ``map`` rows of class numbers with 255 where nothing is known, empty unless asked for;
    ``notes`` what is worth knowing about the answer: that B10 was missing, as in L2A products.
    """

    def __init__(self) -> None:
        self.model: LandCover | None = None

    def load_context(self, context: Any) -> None:
        """Check every file of the model against its SHA-256 and load it."""
        self.model = load_model(checked_artifacts(context)["model"])

    @guarded
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
        """One answer for each row of the request; see the class."""
        assert self.model is not None
        rows = read_request(model_input, FIELDS, max_rows=MOST_ROWS)
        return [answer(self.model, row, number) for number, row in enumerate(rows)]


def answer(model: LandCover, row: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """What one checked row gets.

    Raises:
        ServingError: bands that do not fit the model or the array, a scale of another kind of sensor, a size
            that the model does not take, or a map from a model without that head.
    """
    import torch

    x, valid, filled = _pixels(model, row, number)
    asked = row["map"]
    if asked and model.decoder is None:
        raise ServingError(f"map in row {number}", seen=True, expected="false: this model has no map head")
    size = x.shape[1:]
    normalised = model.normalisation(x, valid)
    normalised[filled] = 0
    padded = _padded(normalised, stride_of(model.encoder))
    batch = torch.from_numpy(padded)[None].float() / 255
    with torch.no_grad():
        embedding = model(batch)
        shares = torch.sigmoid(model.classify(embedding))[0].tolist() if model.classify is not None else []
        cover: list[list[int]] = []
        if asked:
            found = model.map(batch)[0].argmax(0).numpy()[: size[0], : size[1]]
            cover = np.where(valid, found, 255).astype(int).tolist()
    ranked = sorted(zip(model.table.names, shares), key=lambda pair: -pair[1])
    return {
        "classes": [{"name": name, "probability": float(share)} for name, share in ranked],
        "embedding": embedding[0].double().tolist(),
        "known": float(valid.mean()),
        "map": cover,
        "notes": [filled_note([model.sensor.bands[k] for k in filled])] if filled else [],
    }


def _pixels(model: LandCover, row: dict[str, Any], number: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The patch in the sensor's unit and band order, which pixels are known, which bands were not sent."""
    names = [name.strip() for name in row["bands"].split(",")]
    pixels = row["pixels"]
    if len(names) != len(pixels):
        raise ServingError(
            f"bands in row {number}",
            seen=f"{len(names)} names for {len(pixels)} layers",
            expected="one name a layer",
        )
    try:
        order = order_by_name(names, model.sensor, where=f"row {number}", fill=True)
    except DataError as error:
        raise ServingError(str(error)) from None
    fitting = FITTING[model.sensor.unit]
    if row["scale"] not in fitting:
        raise ServingError(
            f"scale in row {number}", seen=row["scale"], expected=f"one of {', '.join(fitting)}"
        )
    sides = pixels.shape[1:]
    if min(sides) < LEAST_SIDE or max(sides) > MOST_SIDE:
        raise ServingError(
            f"pixels in row {number}", seen=sides, expected=f"{LEAST_SIDE} to {MOST_SIDE} rows and columns",
            remedy="map whole scenes with `kindred map-scene`",
        )  # fmt: skip
    sent = pixels[[place for place in order if place >= 0]].astype(np.float32)
    valid = np.ones(sides, dtype=bool) if row["nodata"] is None else ~(sent == row["nodata"]).any(axis=0)
    if model.sensor.unit == "dn":
        valid &= (sent != 0).any(axis=0)
    if not valid.any():
        raise ServingError(f"pixels in row {number}", seen="no known pixel", expected="at least one")
    filled = [position for position, place in enumerate(order) if place < 0]
    x = np.zeros((len(order), *sides), dtype=np.float32)
    x[[position for position, place in enumerate(order) if place >= 0]] = sent
    return Scale(row["scale"])(x), valid, filled


def _padded(pixels: np.ndarray, stride: int) -> np.ndarray:
    """Sides rounded up to multiples of the encoder's stride, by repeating the edge."""
    down, right = (-side % stride for side in pixels.shape[1:])
    return np.pad(pixels, ((0, 0), (0, down), (0, right)), mode="edge")


mlflow.models.set_model(LandCoverService())
