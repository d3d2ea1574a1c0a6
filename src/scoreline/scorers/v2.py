"""The Open Inference Protocol, version 2, over HTTP: MLServer, KServe, Triton. Columns go out as JSON tensors."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from scoreline.errors import InvalidRequest, ModelBroken, ScoringError, TooLarge
from scoreline.rows import jsonout
from scoreline.scorers import reasons
from scoreline.scorers.foreign import ForeignScorer, Learned, finite
from scoreline.scorers.replies import column, numbers
from scoreline.scorers.transport import Reply
from scoreline.types import Feature, FeatureType, ModelInfo, Scores, ScoringPlan, ServerAddress

_DATATYPES = {
    FeatureType.NUMERIC: "FP64",
    FeatureType.INTEGER: "INT64",
    FeatureType.BOOLEAN: "BOOL",
    FeatureType.TEXT: "BYTES",
}
_PROBABILITIES = ("predict_proba", "probabilities", "output_probability")
_MATRIX = "matrix"
_TOO_MANY = re.compile(r"batch[- ]size must be <= \d+")


class V2Scorer(ForeignScorer):
    """One model of a V2 server: a tensor for each input column, or one matrix of all of them.

    A number that is not there is sent as null: JSON has no NaN.
    """

    kind = "v2"
    concurrency = 4
    options = {  # noqa: RUF012 -- never changed
        "model": "name of the model on that server",
        "version": "its version; without it, the server's choice",
        "layout": "`columns` (default): a tensor for each input; `matrix`: one tensor of all of them",
        "tensor": "name of the matrix",
        "datatypes": "JSON object of tensor names and datatypes; learned from the server where it tells",
        "output": "name of the output that holds the predictions",
        "singleOutput": "`last`: a binary model's one value is the last class's probability",
    }
    advice = (
        "name the output that holds probabilities with `--server-option output=...` (`predict_proba` for scikit-learn "
        "models on MLServer), or, if its one value is a probability, register it with `--server-option "
        "singleOutput=last`"
    )

    def __init__(self, server: ServerAddress, plan: ScoringPlan) -> None:
        super().__init__(server, plan)
        self._datatypes: dict[str, str] = json.loads(self.given.get("datatypes", "{}"))
        self._types = {feature.name: _DATATYPES[feature.type] for feature in plan.features}
        self._output = self.given.get("output")
        wanted = [{"name": self._output}] if self._output else []
        self._end = b"]" + (b',"outputs":' + json.dumps(wanted).encode() if wanted else b"") + b"}"

    def address(self) -> str:
        """Return the model's route, of one version if that was chosen."""
        version = self.given.get("version")
        chosen = f"/versions/{quote(version, safe='')}" if version else ""
        return f"{self.url}{self._model_path()}{chosen}/infer"

    def body(self, batch: pa.RecordBatch) -> bytes:
        """Return the tensors."""
        rows = finite(batch).num_rows
        if self.given.get("layout") == _MATRIX:
            name = self.given.get("tensor", "input-0")
            tensor = _tensor(name, self._datatypes.get(name, "FP64"), [rows, batch.num_columns], batch.columns)
            return b'{"inputs":[' + tensor + self._end
        tensors = [
            _tensor(name, self._datatypes.get(name, self._types.get(name, "BYTES")), [rows, 1], [column])
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        # The parameter has MLServer put the columns together as a table; the others do not mind it.
        return b'{"parameters":{"content_type":"pd"},"inputs":[' + b",".join(tensors) + self._end

    def values(self, reply: Reply, rows: int) -> tuple[Scores, str | None]:
        """Read the output that has the predictions; the model's version is its identity."""
        document = reply.json()
        outputs = document.get("outputs") if isinstance(document, dict) else None
        if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
            raise self.reader.wrong("no list of outputs")
        extra = [self._column(outputs, name, rows) for name in self.reader.extra]
        return self._read(self._chosen(outputs), rows, extra), _identity(document)

    def refusal(self, reply: Reply) -> ScoringError:
        """MLServer answers 500 for bad rows, too; Triton refuses batches that its configuration has no room for."""
        said = reasons.find(reply).text
        if reply.status == 400 and _TOO_MANY.search(said):
            return TooLarge(f"Scoring failed: the {self.where} says: {said}")
        return self.data_or_machine(reply)

    def learn(self, labels: tuple[str, ...] | None, features: tuple[Feature, ...]) -> Learned:
        """Read the model's metadata, which may name its inputs with their types, or leave them out."""
        if not self.given.get("model"):
            raise InvalidRequest("Name the model on that server: `--server-option model=NAME`.", "server.options")
        reply = self.ask(self._model_path())
        if reply.status != 200:
            raise self.refusal(reply)
        document = reply.document()
        names = self._inputs(document)
        outputs = [item["name"] for item in _named(document.get("outputs"))]
        options = self._layout(names, features) | self._most_of_a_batch()
        if "output" not in self.given and (labels or len(outputs) > 1):
            known = next((name for name in _PROBABILITIES if name in outputs), None)
            options |= {"output": known} if known else {}
        own: tuple[Feature, ...] = ()
        if options.get("layout") != _MATRIX and self.given.get("layout") != _MATRIX:
            own = tuple(Feature(name, _feature_type(kind), _nullable(kind)) for name, kind in names.items())
        if not own and not features:
            raise InvalidRequest(
                f"The {self.where} does not name the input columns of its model: give them in their order with "
                "`--feature COLUMN=TYPE`.",
                "features",
            )
        return Learned(ModelInfo(self.kind, None, own), options, needs_values=True)

    def _inputs(self, document: dict[str, Any]) -> dict[str, str]:
        """Return the datatype of each input. Raises ModelBroken for two of one name."""
        found: dict[str, str] = {}
        for item in _named(document.get("inputs")):
            name = item["name"]
            if name in found:
                raise ModelBroken(f"The {self.where} names the input column {name!r} twice: mend its model's metadata.")
            found[name] = str(item.get("datatype", "FP64"))
        return found

    def _most_of_a_batch(self) -> dict[str, str]:
        """Return the batch size that Triton is configured for; the others have no such address."""
        if "maxRows" in self.given:
            return {}
        reply = self.ask(f"{self._model_path()}/config")
        most = reply.document().get("max_batch_size") if reply.status == 200 else None
        return {"maxRows": str(most)} if isinstance(most, int) and most > 0 else {}

    def _model_path(self) -> str:
        return f"/v2/models/{quote(self.given.get('model', ''), safe='')}"

    def _layout(self, names: dict[str, str], features: tuple[Feature, ...]) -> dict[str, str]:
        options = {"datatypes": json.dumps(names)} if names and "datatypes" not in self.given else {}
        if len(names) == 1 and features and "layout" not in self.given:
            (only,) = names
            if [feature.name for feature in features] != [only]:
                options |= {"layout": _MATRIX, "tensor": only}
        return options

    def _chosen(self, outputs: list[dict[str, Any]]) -> dict[str, Any]:
        named = {str(output.get("name")): output for output in outputs}
        named = {name: output for name, output in named.items() if name not in self.reader.extra}
        if self._output in named:
            return named[self._output]
        if self._output is None and len(named) == 1:
            return next(iter(named.values()))
        known = next((name for name in _PROBABILITIES if name in named), None)
        if self._output is not None or known is None:
            raise self.reader.broken(f"the outputs {', '.join(named) or 'none'}")
        return named[known]

    def _column(self, outputs: list[dict[str, Any]], name: str, rows: int) -> pa.Array:
        data = next((output.get("data") for output in outputs if output.get("name") == name), None)
        if not isinstance(data, list):
            raise self.reader.wrong(f"no output {name!r}")
        self.reader.check_count(len(data), rows)
        return column(data, self.reader)

    def _read(self, output: dict[str, Any], rows: int, extra: list[pa.Array]) -> Scores:
        data, shape = output.get("data"), output.get("shape")
        if not isinstance(data, list) or not isinstance(shape, list) or not shape:
            raise self.reader.wrong("an output without data and shape")
        if self.reader.outputs == 0:
            self.reader.check_count(len(data), rows)
            return self.reader.scores(data, extra)
        values = numbers(data, self.reader)
        try:
            self.reader.check_count(int(shape[0]), rows)
            whole = values.reshape(rows, -1) if int(np.prod(shape)) == values.size else None
        except (TypeError, ValueError) as error:
            raise self.reader.wrong("an output whose data does not fit its shape") from error
        if whole is None:
            raise self.reader.wrong("an output whose data does not fit its shape")
        return Scores(self.reader.shaped(whole), None, tuple(extra))


def open_scorer(server: ServerAddress, plan: ScoringPlan) -> V2Scorer:
    """Return a scorer; nothing is sent yet."""
    return V2Scorer(server, plan)


def _named(described: Any) -> list[dict[str, Any]]:
    """Return the tensors of a list in a server's metadata, without what is none."""
    listed = described if isinstance(described, list) else []
    return [item for item in listed if isinstance(item, dict) and isinstance(item.get("name"), str)]


def _tensor(name: str, datatype: str, shape: list[int], columns: list[pa.Array]) -> bytes:
    head = json.dumps({"name": name, "shape": shape, "datatype": datatype})[:-1].encode()
    return head + b',"data":[' + jsonout.values(columns) + b"]}"


def _identity(document: dict[str, Any]) -> str | None:
    name, version = document.get("model_name"), document.get("model_version")
    return f"{name}:{version}" if version else None


def _feature_type(datatype: str) -> FeatureType:
    if datatype == "BYTES":
        return FeatureType.TEXT
    if datatype == "BOOL":
        return FeatureType.BOOLEAN
    return FeatureType.INTEGER if "INT" in datatype else FeatureType.NUMERIC


def _nullable(datatype: str) -> bool:
    return datatype == "BYTES" or datatype.startswith(("FP", "BF"))
