"""A tiny registered model: scales a number by its one weight. Only for tests."""

from __future__ import annotations

import mlflow

from core.tracking import checked_artifacts, load_weights
from core.tracking.serving import Field, guarded, read_request

FIELDS = [
    Field("text", "text", longest=1000),
    Field("times", "integer", required=False, default=1, low=1, high=9),
]


class Echo(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        folder = checked_artifacts(context)["model"]
        digest = (folder / "digest.txt").read_text()
        self.weight = load_weights(folder / "model.safetensors", digest)["weight"].item()

    @guarded
    def predict(self, context, model_input, params=None):
        rows = read_request(model_input, FIELDS, max_rows=100)
        if any(row["text"] == "bug" for row in rows):
            raise RuntimeError("a bug with a secret")
        return [{"text": row["text"] * row["times"], "weight": self.weight} for row in rows]


mlflow.models.set_model(Echo())
