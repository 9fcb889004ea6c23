"""The served model: a table of queries in, places in the code out.

The index travels with the model, as the artifact ``index`` beside ``encoder``. A server started with the
environment variable ``KINDRED_INDEX`` (a repository that was indexed with this encoder, or an index folder)
answers from that instead, and then also says which results changed since.

MLflow runs this file as it is ("models from code"): nothing is pickled.
"""

from __future__ import annotations

import os
from typing import Any

import mlflow
from mlflow.types import DataType
from mlflow.types.schema import Array, Object, Property

from code_search.index.query import Index, open_index
from code_search.index.ranking import LONGEST_QUERY, MODES
from core.tracking.package import checked_artifacts
from core.tracking.serving import Field, guarded, read_request, request_signature

INDEX_VARIABLE = "KINDRED_INDEX"
MOST_QUERIES = 100
FIELDS = (
    Field("query", "text", longest=LONGEST_QUERY),
    Field("top", "integer", required=False, default=10, low=1, high=100),
    Field("lang", "text", required=False, longest=40),
    Field("path", "text", required=False, longest=500),
    Field("mode", "text", required=False, default="hybrid", choices=MODES),
)
INPUT_EXAMPLE = [{"query": "read a csv file", "top": 3}, {"query": "wait for a lock", "top": 2}]
_RESULT = {
    "rank": DataType.long,
    "score": DataType.double,
    "score_dense": DataType.double,
    "score_lexical": DataType.double,
    "path": DataType.string,
    "start_line": DataType.long,
    "end_line": DataType.long,
    "name": DataType.string,
    "lang": DataType.string,
    "snippet": DataType.string,
    "state": DataType.string,
}


def signature() -> Any:
    """What a request may hold and what comes back: one answer a row, which holds the rows that were found."""
    result = Object([Property(name, kind, required=name != "score_dense") for name, kind in _RESULT.items()])
    answer: dict[str, Any] = dict.fromkeys(("query", "mode", "note"), "string")
    return request_signature(FIELDS, {**answer, "results": Array(result)})


def input_example() -> Any:
    """Two requests, as a table."""
    import pandas as pd

    return pd.DataFrame(INPUT_EXAMPLE)


class CodeSearch(mlflow.pyfunc.PythonModel):
    """Answers ``{"query", "top", "lang", "path", "mode"}`` rows; all but ``query`` may be left out.

    Each row gives ``{"query", "mode", "note", "results"}``, and each result the fields of
    `code_search.index.result.Result`. ``path`` filters indexed paths; no file named in a request is opened.
    """

    def __init__(self, index: Index | None = None) -> None:
        self.index = index

    def load_context(self, context: Any) -> None:
        """Check every file of the model against its SHA-256, load the encoder, open the index."""
        from code_search.model import load_encoder

        artifacts = checked_artifacts(context)
        chosen = os.environ.get(INDEX_VARIABLE, "").strip() or artifacts["index"]
        self.index = open_index(chosen, encoder=load_encoder(artifacts["encoder"]))

    @guarded
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
        """One answer for each row of the request; see the class."""
        assert self.index is not None
        return [
            self.index.search(
                row["query"], row["top"], lang=row["lang"], path=row["path"], mode=row["mode"]
            ).to_json()
            for row in read_request(model_input, FIELDS, max_rows=MOST_QUERIES)
        ]


mlflow.models.set_model(CodeSearch())
