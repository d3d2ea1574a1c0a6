"""KServe and Triton, as their documentation says that they ask and answer; MLServer itself is in tests/systems."""

from __future__ import annotations

import csv
import io
import json
import math
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scoreline import scorers
from scoreline.engines.local import MemoryLedger, run_ticket
from scoreline.errors import Overloaded
from scoreline.types import (
    CsvDialect,
    ErrorPlan,
    Feature,
    FeatureType,
    PacePlan,
    Range,
    RunTicket,
    ScoringPlan,
    ServerAddress,
    TargetType,
)
from tests.unit.pipeline.stand_ins import SeenProgress
from tests.unit.scorers.test_foreign import score

BYTES = {"FP32": 4, "FP64": 8, "INT64": 8, "INT32": 4, "BOOL": 1, "BYTES": 0}
MODEL = "/v2/models/churn"


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Stand:
    """What both have in common: metadata, and a request that is checked as the protocol demands it."""

    inputs = (("age", "FP32"), ("visits", "INT64"), ("city", "BYTES"))

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.version = "3"

    def get(self, path: str) -> dict:
        if path == MODEL:
            return {
                "name": "churn",
                "versions": ["3"],
                "platform": self.platform,
                "inputs": [{"name": name, "datatype": kind, "shape": [-1, 1]} for name, kind in self.inputs],
                "outputs": [
                    {"name": "label", "datatype": "INT64", "shape": [-1]},
                    {"name": self.told[0], "datatype": self.told[1], "shape": [-1, 2]},
                ],
            }
        raise Refused(404, f"no such address {path}")

    def post(self, path: str, document: dict) -> dict:
        assert path == f"{MODEL}/infer"
        assert set(document) <= {"id", "parameters", "inputs", "outputs"}
        columns = {}
        for tensor in document["inputs"]:
            assert set(tensor) <= {"name", "shape", "datatype", "parameters", "data"}
            assert tensor["datatype"] == dict(self.inputs)[tensor["name"]]
            values = tensor["data"]
            assert math.prod(tensor["shape"]) == len(values)
            for value in values:
                self.check(tensor, value)
            columns[tensor["name"]] = values
        rows = len(columns["age"])
        self.rows.append(rows)
        return self.answer([0.5 + math.tanh(age / 1000) / 2 for age in columns["age"]], document)

    def check(self, tensor: dict, value) -> None:
        kind = tensor["datatype"]
        good = {"BYTES": str, "BOOL": bool, "INT64": int}.get(kind, int | float)
        if not isinstance(value, good) or (isinstance(value, bool) and kind != "BOOL"):
            raise Refused(400, self.complaint(tensor))


class Triton(Stand):
    """Flat row-major data, texts in BYTES, errors as {"error": ...}, a batch size from its configuration."""

    platform = "onnxruntime_onnx"
    told = ("probabilities", "FP32")
    most = 64

    def get(self, path: str) -> dict:
        if path == f"{MODEL}/config":
            return {"name": "churn", "platform": self.platform, "max_batch_size": self.most, "input": []}
        return super().get(path)

    def post(self, path: str, document: dict) -> dict:
        (size,) = {tensor["shape"][0] for tensor in document["inputs"]}
        if size > self.most:
            raise Refused(400, f"inference request batch-size must be <= {self.most} for 'churn'")
        return super().post(path, document)

    def complaint(self, tensor: dict) -> str:
        return f"Unable to parse 'data': attempt to access JSON non-{tensor['datatype']} as FP number"

    def answer(self, positive: list[float], document: dict) -> dict:
        wanted = [output["name"] for output in document["outputs"]]
        assert wanted == ["probabilities"]
        flat = [value for each in positive for value in (1 - each, each)]
        output = {"name": "probabilities", "datatype": "FP32", "shape": [len(positive), 2], "data": flat}
        return {"model_name": "churn", "model_version": self.version, "outputs": [output]}

    def refusal(self, problem: Refused) -> dict:
        return {"error": str(problem)}


class KServe(Stand):
    """Its own runtimes: no model version, nulls where nothing is to be said, nested data, errors as {"error": ...}."""

    platform = ""
    told = ("predict_proba", "FP64")

    def complaint(self, tensor: dict) -> str:
        return f"ValueError : could not convert the values of {tensor['name']} to {tensor['datatype']}"

    def answer(self, positive: list[float], document: dict) -> dict:
        nested = [[1 - each, each] for each in positive]
        output = {
            "name": "predict_proba",
            "shape": [len(positive), 2],
            "datatype": "FP64",
            "parameters": None,
            "data": nested,
        }
        return {"model_name": "churn", "model_version": None, "id": "0b1c", "parameters": None, "outputs": [output]}

    def refusal(self, problem: Refused) -> dict:
        return {"error": str(problem)}


@contextmanager
def running(stand: Stand):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                found = stand.get(self.path) if self.command == "GET" else stand.post(self.path, json.loads(body))
                status = 200
            except Refused as problem:
                found, status = stand.refusal(problem), problem.status
            content = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def scored(folder, url: str, text: str, *, learn: bool = True):
    """Register as the API does, score a CSV, return its rows, the counts and the options."""
    address = ServerAddress(url, "", "", "v2", {"model": "churn"})
    learned = scorers.learn(address, ("no", "yes"), ())
    options = (
        {**learned.options, "model": "churn"} if learn else {"model": "churn", "output": learned.options["output"]}
    )
    features = tuple(
        Feature(each.name, each.type, nullable=each.type in (FeatureType.NUMERIC, FeatureType.TEXT))
        for each in learned.info.features
    )
    plan = ScoringPlan(TargetType.BINARY, "churn", features, ("no", "yes"), positive_class="yes", include_status=True)
    options.setdefault("datatypes", json.dumps(dict(Stand.inputs)))
    source, target = folder / "in.csv", folder / "out.csv"
    source.write_text(text)
    ticket = RunTicket(
        job_id="j" * 24,
        fence=1,
        part=Range(),
        intake={"type": "filesystem", "path": str(source)},
        output={"type": "filesystem", "path": str(target)},
        dialect=CsvDialect(),
        plan=plan,
        pace=PacePlan("auto", 2),
        errors=ErrorPlan(),
        server=ServerAddress(url, "", "", "v2", options),
        spool=str(folder / "spool"),
        package_hash="",
    )
    done = run_ticket(ticket, MemoryLedger(), SeenProgress())
    return list(csv.DictReader(io.StringIO(target.read_text()))), done.counts, options


def rows(count: int) -> str:
    return "age,visits,city\n" + "".join(f"{age / 4},{age},Köln {age}\n" for age in range(count))


@pytest.mark.parametrize("stand", [Triton, KServe])
def test_rows_go_out_and_probabilities_come_back(tmp_path, stand):
    server = stand()
    with running(server) as url:
        found, counts, _ = scored(tmp_path, url, rows(500))
    assert counts.scored == 500
    wanted = [0.5 + math.tanh(age / 4 / 1000) / 2 for age in range(500)]
    assert [float(row["churn_yes_PREDICTION"]) for row in found] == wanted


@pytest.mark.parametrize("learn", [True, False])
def test_tritons_batch_size_is_kept_and_costs_no_row(tmp_path, learn):
    """Learned from its configuration; and where that was not asked, a refusal is no fault of the rows."""
    server = Triton()
    with running(server) as url:
        _, counts, options = scored(tmp_path, url, rows(500), learn=learn)
    assert options.get("maxRows") == ("64" if learn else None)
    assert counts.failed == 0
    assert max(server.rows) <= 64


@pytest.mark.parametrize("stand", [Triton, KServe])
def test_a_row_that_they_refuse_fails_alone(tmp_path, stand):
    """A missing number is null, which they have no place for in a tensor of numbers."""
    text = rows(100).splitlines()
    text[50] = ",49,Köln"
    with running(stand()) as url:
        found, counts, _ = scored(tmp_path, url, "\n".join(text) + "\n")
    assert counts.failed == 1
    assert [place for place, row in enumerate(found) if row["prediction_status"] != "OK"] == [49]
    assert found[49]["churn_yes_PREDICTION"] == ""


def test_a_full_queue_is_asked_again_later():
    class Full(Triton):
        def post(self, path, document):
            raise Refused(503, "[request id: <id_unknown>] Exceeds maximum queue size")

    with running(Full()) as url, pytest.raises(Overloaded, match="maximum queue size"):
        score(url, "v2", model="churn")
