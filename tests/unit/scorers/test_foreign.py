"""What is sent to servers of other makers, and what is made of their answers; real servers are in tests/systems."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline import errors, scorers
from scoreline.rows import jsonout
from scoreline.scorers import drum, reasons
from scoreline.scorers.replies import Reader, column
from scoreline.scorers.transport import Reply, retry_after
from scoreline.types import ExtraOutput, Feature, FeatureType, ScoreOptions, ScoringPlan, ServerAddress, TargetType

FEATURES = (
    Feature("n", FeatureType.NUMERIC),
    Feature("i", FeatureType.INTEGER),
    Feature("b", FeatureType.BOOLEAN),
    Feature("t", FeatureType.TEXT),
)
BINARY = ScoringPlan(TargetType.BINARY, "y", FEATURES, ("no", "yes"))
NUMBER = ScoringPlan(TargetType.REGRESSION, "y", FEATURES)
ROWS = pa.record_batch(
    {
        "n": pa.array([0.1, None, -2e300]),
        "i": pa.array([1, 2**60, None], pa.int64()),
        "b": pa.array([True, None, False]),
        "t": pa.array(['a"b\\c', "new\nline,\x01", None]),
    }
)
# As MLflow answers: with a trace, and with the rows in the message.
TRACED = {
    "error_code": "BAD_REQUEST",
    "message": "m",
    "stack_trace": 'Traceback (most recent call last):\n  File "/secret/x.py"\nValueError: no\nmore',
}
SHOWN = {
    "error_code": "INVALID_PARAMETER_VALUE",
    "message": "Failed '  age\n0 30'. \nError: Model is missing inputs ['i'].",
}
BINARY_ANSWER = {"predictions": [{"no": 0.25, "yes": 0.75}] * 3}


@contextmanager
def server(status: int, body, headers=(), info=None):
    """Run a server that answers a POST with `body`, and a GET with what `info` is at the time."""
    seen = []
    about = {"drumVersion": "1", "targetType": "binary"} if info is None else info
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            seen.append((self.command, self.path, self.headers, sent))
            known = self.command == "GET"
            answer = json.dumps(about).encode() if known else content
            self.send_response(200 if known else status)
            for name, value in (*headers, ("Content-Length", str(len(answer)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}", seen
        finally:
            running.shutdown()
            thread.join()


def score(url: str, kind: str, plan=BINARY, rows=ROWS, token="", **options):
    scorer = scorers.open_scorer(ServerAddress(url, "", token, kind, options), plan)
    try:
        return scorer.score(rows, ScoreOptions(5))
    finally:
        scorer.close()


def test_drum_gets_csv():
    with server(200, BINARY_ANSWER) as (url, seen):
        assert score(url, "drum").values.tolist() == [[0.25, 0.75]] * 3
        score(url, "drum", rows=pa.record_batch({"t": pa.array([None, "", "x"])}))
    bodies = [body for method, path, _, body in seen if method == "POST" and path == "/predict/"]
    assert bodies[0].decode() == (
        'n,i,b,t\n0.1,1,true,"a""b\\c"\n,1152921504606846976,,"new\nline,\x01"\n-2e+300,,false,\n'
    )
    assert bodies[1] == b't\n""\n""\nx\n'  # no line is blank: pandas would skip it


def test_drum_is_known_by_what_it_says_of_itself(monkeypatch):
    monkeypatch.setattr(drum, "_LOOK_SECONDS", 0.0)
    info = {"drumVersion": "1", "targetType": "binary", "codeDir": "/one"}
    with server(200, BINARY_ANSWER, info=info) as (url, _):
        scorer = scorers.open_scorer(ServerAddress(url, "", "", "drum", {}), BINARY)

        def model():
            return scorer.score(ROWS, ScoreOptions(5)).model

        first = model()
        info["drumVersion"] = "2"
        assert model() == first
        info["codeDir"] = "/two"
        second = model()
        assert second not in (None, first)
        info["modelMetadata"] = {"modelID": "m3"}
        assert model() == "drum m3"
        info.clear()  # it says nothing for a moment: the model is taken to be the one that it was
        assert model() == "drum m3"
        scorer.close()


def test_mlflow_gets_rows_with_their_types():
    with server(200, {"predictions": [[0.25, 0.75]] * 3}) as (url, seen):
        score(url, "mlflow")
    assert json.loads(seen[0][3]) == {
        "dataframe_split": {
            "columns": ["n", "i", "b", "t"],
            "data": [[0.1, 1, True, 'a"b\\c'], [None, 2**60, None, "new\nline,\x01"], [-2e300, None, False, None]],
        }
    }


def test_v2_gets_tensors():
    answer = {
        "model_name": "m",
        "model_version": "7",
        "outputs": [{"name": "p", "shape": [3, 2], "data": [0.25, 0.75] * 3}],
    }
    with server(200, answer) as (url, seen):
        scores = score(url, "v2", model="my model", version="7", output="p", datatypes='{"n": "FP32"}')
        score(url, "v2", model="m", layout="matrix", tensor="x", rows=ROWS.select(["n", "i"]))
    assert scores.model == "m:7"
    assert scores.values.tolist() == [[0.25, 0.75]] * 3
    assert seen[0][1] == "/v2/models/my%20model/versions/7/infer"
    sent = json.loads(seen[0][3])
    assert sent["outputs"] == [{"name": "p"}]
    assert [(each["name"], each["shape"], each["datatype"]) for each in sent["inputs"]] == [
        ("n", [3, 1], "FP32"), ("i", [3, 1], "INT64"), ("b", [3, 1], "BOOL"), ("t", [3, 1], "BYTES"),
    ]  # fmt: skip
    assert sent["inputs"][3]["data"] == ['a"b\\c', "new\nline,\x01", None]
    (matrix,) = json.loads(seen[1][3])["inputs"]
    assert matrix["shape"] == [3, 2]
    assert matrix["data"] == [0.1, 1, None, 2**60, -2e300, None]


def _value(label, value):
    return {"label": label, "value": value}


def test_datarobot_routes_keys_and_answers():
    data = [
        {"rowId": row, "prediction": "yes", "predictionValues": [_value("yes", 0.75), _value("no", 0.25)]}
        for row in range(3)
    ]  # fmt: skip
    with server(200, {"data": data}, [("X-DataRobot-Model-Id", "abc")]) as (url, seen):
        scores = score(url, "datarobot", deployment="d1", token="secret")
        score(url, "datarobot", deployment="d1", route="pps")
        score(url, "datarobot")
    assert scores.values.tolist() == [[0.25, 0.75]] * 3
    assert scores.model == "abc"
    paths = [path for _, path, _, _ in seen]
    assert paths == ["/predApi/v1.0/deployments/d1/predictions", "/deployments/d1/predictions", "/predictions"]
    assert seen[0][2]["authorization"] == "Bearer secret"
    assert seen[1][2]["authorization"] is None
    with server(200, {"data": data[::-1]}) as (url, _), pytest.raises(errors.WrongAnswer, match="another order"):
        score(url, "datarobot")
    with server(200, {"data": [{"prediction": 1.5}] * 3}) as (url, _):
        assert score(url, "datarobot", NUMBER).values.tolist() == [[1.5]] * 3


@pytest.mark.parametrize(
    ("kind", "status", "body", "error", "words"),
    [
        ("drum", 500, {"message": """Exception: ValueError("bad: 'abc'")"""}, errors.DataRefused, "bad: 'abc'"),
        ("drum", 500, {"message": "ERROR: No columns to parse from file"}, errors.DataRefused, "No columns"),
        ("drum", 500, {"message": "ERROR: Exception: MemoryError('x')"}, errors.ServerUnavailable, "MemoryError"),
        ("drum", 500, {"message": "ERROR: CUDA out of memory in column"}, errors.ServerUnavailable, "memory"),
        ("drum", 500, b"<html>Internal Server Error</html>", errors.ServerUnavailable, "500"),
        ("drum", 413, b"", errors.TooLarge, "413"),
        ("mlflow", 400, TRACED, errors.DataRefused, "ValueError: no"),
        ("mlflow", 400, SHOWN, errors.DataRefused, "Model is missing"),
        ("mlflow", 415, b"", errors.AccessRefused, "415"),
        ("mlflow", 500, {"message": "x"}, errors.ServerUnavailable, "500"),
        ("v2", 500, TRACED["stack_trace"].encode(), errors.DataRefused, "ValueError: no"),
        ("v2", 404, {"error": "Model m not found"}, errors.AccessRefused, "not found"),
        ("datarobot", 570, {"message": "x"}, errors.ServerUnavailable, "570"),
        ("datarobot", 403, {"message": "x"}, errors.AccessRefused, "key"),
        ("datarobot", 302, b"", errors.AccessRefused, "302"),
        ("datarobot", 422, {"message": "x: odd"}, errors.DataRefused, "x: odd"),
        ("drum", 503, b"", errors.Overloaded, "503"),
        ("mlflow", 429, {"message": "x"}, errors.Overloaded, "429"),
    ],
)  # fmt: skip
def test_what_a_status_means(kind, status, body, error, words):
    with server(status, body, [("Retry-After", "7")]) as (url, _), pytest.raises(error, match=words) as raised:
        score(url, kind, model="m")
    message = raised.value.message
    assert "Traceback" not in message
    assert "\n" not in message
    assert "/secret" not in message
    assert "0 30" not in message
    if error is errors.Overloaded:
        assert raised.value.retry_after == 7


@pytest.mark.parametrize(
    ("plan", "body", "error", "words"),
    [
        (BINARY, {"predictions": [[0.1, 0.9]] * 2}, errors.WrongAnswer, "2 predictions for 3 rows"),
        (BINARY, {"predictions": [[0.1, 0.9]] * 4}, errors.WrongAnswer, "4 predictions for 3 rows"),
        (BINARY, {"predictions": [0, 1, 1]}, errors.ModelBroken, "predict_proba"),
        (BINARY, {"predictions": ["no", "yes", "no"]}, errors.ModelBroken, "'no' where a number"),
        (BINARY, {"predictions": [[0.1, 0.2, 0.7]] * 3}, errors.ModelBroken, "3 values"),
        (BINARY, {"predictions": [[0.1, 0.9], [1], [1]]}, errors.WrongAnswer, "different lengths"),
        (BINARY, {"predictions": [{"no": 1, "maybe": 0}] * 3}, errors.ModelBroken, "'maybe'"),
        (BINARY, {"predictions": [{"no": 1, "yes": 0}] * 2 + [{"no": 1}]}, errors.WrongAnswer, "different class names"),
        (
            BINARY,
            {"predictions": [{"no": 1, "yes": 0}, {"no": 1, "yes": 0, "maybe": 0}, {"no": 1, "yes": 0}]},
            errors.WrongAnswer,
            "different class names",
        ),
        (BINARY, {"predictions": 1}, errors.WrongAnswer, "no list"),
        (BINARY, b"{", errors.WrongAnswer, "no JSON"),
        (BINARY, b"[" * 100_000, errors.WrongAnswer, "no JSON"),
        (NUMBER, {"predictions": ["1.5", "2", "3"]}, errors.ModelBroken, "'1.5'"),
        (NUMBER, {"predictions": [True, False, True]}, errors.ModelBroken, "True"),
        (NUMBER, {"predictions": [{"a": 1, "b": 2}] * 3}, errors.ModelBroken, "outputs"),
        (NUMBER, b'{"predictions": "' + b"x" * (3 << 20) + b'"}', errors.WrongAnswer, "more than"),
    ],
)
def test_answers_that_are_refused(plan, body, error, words):
    with server(200, body) as (url, _), pytest.raises(error, match=words):
        score(url, "mlflow", plan)


def test_a_tensor_of_more_rows_is_no_matrix_of_fewer():
    output = {"name": "predict_proba", "datatype": "FP64", "shape": [6, 1], "data": [0.1, 0.9] * 3}
    with server(200, {"outputs": [output]}) as (url, _), pytest.raises(errors.WrongAnswer, match="6 predictions for 3"):
        score(url, "v2", model="m")


def test_a_value_that_is_none_fails_its_own_row_only():
    with server(200, b'{"predictions": [1.5, null, NaN]}') as (url, _):
        values = score(url, "mlflow", NUMBER).values
    np.testing.assert_array_equal(values, [[1.5], [np.nan], [np.nan]])


def test_one_probability_for_each_row_has_to_be_said():
    with server(200, {"predictions": [0.25, 1, 0]}) as (url, _):
        assert score(url, "mlflow", singleOutput="last").values.tolist() == [[0.75, 0.25], [0, 1], [1, 0]]


def test_spellings_of_a_class_are_the_same_class():
    reader = Reader(ScoringPlan(TargetType.BINARY, "y", (), ("1", "0")), "server")
    assert reader.rows([{"0.0": 0.1, "1.0": 0.9}], 1).values.tolist() == [[0.9, 0.1]]


def test_an_infinite_number_is_refused_by_row():
    rows = pa.record_batch({"n": pa.array([1.0, float("inf")])})
    with pytest.raises(errors.DataRefused) as raised:
        score("http://127.0.0.1:9", "mlflow", rows=rows)
    assert raised.value.row == 1


@pytest.mark.parametrize(("options", "rows"), [({"maxRows": "2"}, ROWS), ({"maxBytes": "40"}, ROWS)])
def test_limits_are_kept_before_anything_is_sent(options, rows):
    with pytest.raises(errors.TooLarge):
        score("http://127.0.0.1:9", "mlflow", rows=rows, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"maxRow": "1"}, "did you mean `maxRows`"),
        ({"maxRows": "0"}, "whole number"),
        ({"maxBytes": "1e3"}, "whole number"),
        ({"timeout": "0"}, "seconds"),
        ({"timeout": "nan"}, "seconds"),
        ({"singleOutput": "first"}, "`last`"),
    ],
)
def test_options_that_are_refused(options, words):
    with pytest.raises(errors.InvalidRequest, match=words):
        scorers.check("mlflow", options)
    with pytest.raises(errors.InvalidRequest, match="one of drum"):
        scorers.check("scoreline", {})


def test_retry_after_as_a_date():
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("soon") is None
    assert retry_after("inf") is None
    assert retry_after("1.5") == 1.5


def test_a_reason_is_short_whatever_the_server_says():
    for body in (
        b"\xff" * 100,
        b"{}",
        b"[]",
        b'{"message": {"message": "deep"}}',
        b'{"detail": [1, 2]}',
        b"x" * 100_000,
    ):
        reason = reasons.find(Reply(500, {}, body))
        assert len(reason.text) <= 300
        assert "\n" not in reason.text


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.booleans(),
            st.none() | st.text(st.characters(codec="utf-8")),
        ),
        min_size=1,
    )
)
def test_json_is_read_back_as_it_was(rows):
    kinds = (pa.float64(), pa.int64(), pa.bool_(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    assert json.loads(b"[" + jsonout.lists(arrays) + b"]") == [list(row) for row in rows]
    assert json.loads(b"[" + jsonout.values(arrays) + b"]") == [cell for row in rows for cell in row]
    assert json.loads(b"[" + jsonout.lists(arrays[:1]) + b"]") == [[row[0]] for row in rows]


BESIDE = (ExtraOutput("n", FeatureType.NUMERIC), ExtraOutput("t", FeatureType.TEXT))
TELLER = ScoringPlan(TargetType.TEXT_GENERATION, "y", FEATURES, extra=BESIDE)
LABELS = ScoringPlan(TargetType.MULTILABEL, "y", FEATURES, ("red", "big"))


def test_texts_with_columns_beside_them():
    reader = Reader(TELLER, "server")
    found = reader.rows([{"n": 1, "answer": "a\n", "t": None}, {"n": None, "answer": "", "t": "x"}], 2)
    assert (found.values.shape, found.text.to_pylist()) == ((2, 0), ["a\n", ""])
    n, t = found.extra
    assert (n.to_pylist()[0], t.to_pylist()) == (1.0, [None, "x"])
    assert np.isnan(n.to_pylist()[1])
    for wrong in ("a", {"answer": "a", "n": 1, "t": "x", "more": 2}, {"answer": 5, "n": 1, "t": "x"}):
        with pytest.raises((errors.WrongAnswer, errors.ModelBroken)):
            reader.rows([wrong, wrong], 2)
    with pytest.raises(errors.WrongAnswer, match="surrogate"):
        reader.rows([{"n": 1, "answer": "\ud800", "t": "x"}], 1)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([True, None], ["True", None]),
        ([1, 2.5], [1.0, 2.5]),
        (["a", 1], ["a", "1"]),
        ([{"a": [1]}, None], ['{"a": [1]}', None]),
        ([None, None], [None, None]),
    ],
)
def test_columns_beside_predictions_of_any_kind(cells, expected):
    assert column(cells, Reader(TELLER, "server")).to_pylist() == expected


def test_labels_are_told_apart_by_name_or_place():
    reader = Reader(LABELS, "server")
    assert reader.rows([{"big": 0.2, "red": 0.9}], 1).values.tolist() == [[0.9, 0.2]]
    assert reader.rows([[0.9, 0.2]], 1).values.tolist() == [[0.9, 0.2]]
    with pytest.raises(errors.ModelBroken):
        reader.rows([{"blue": 0.2, "red": 0.9}], 1)
