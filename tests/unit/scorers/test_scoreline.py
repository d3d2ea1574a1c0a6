"""What our scorer makes of a server's answers; the server's side is in tests/unit/serving."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scoreline import errors
from scoreline.network import Reach
from scoreline.rows import exchange
from scoreline.scorers import open_scorer
from scoreline.scorers.transport import Transport
from scoreline.types import ScoreOptions, Scores, ScoringPlan, ServerAddress, TargetType

PLAN = ScoringPlan(TargetType.BINARY, "y", (), ("no", "yes"))
ROWS = pa.record_batch({"x": pa.array([1.0, 2.0])})


@contextmanager
def server(status: int, body: bytes, headers=()):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            sent = self.rfile.read(int(self.headers["content-length"]))
            seen.append((self.path, self.headers, sent, self.client_address))
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        scorer = open_scorer(ServerAddress(f"http://127.0.0.1:{running.server_address[1]}/", "p1", "scl_tok"), PLAN)
        try:
            yield scorer, seen
        finally:
            scorer.close()
            running.shutdown()
            thread.join()


def answer(values) -> bytes:
    return exchange.encode_scores(Scores(np.array(values, dtype=float))).to_pybytes()


def test_what_is_sent_and_what_comes_back():
    with server(200, answer([[0.25, 0.75], [1, 0]]), [("X-Scoreline-Model", "abc")]) as (scorer, seen):
        for _ in range(3):
            scores = scorer.score(ROWS, ScoreOptions())
        assert scores.values.tolist() == [[0.25, 0.75], [1, 0]]
        assert scores.model == "abc"
        path, headers, body, _ = seen[0]
        assert path == "/scoreline/v1/packages/p1/score"
        assert headers["authorization"] == "Bearer scl_tok"
        assert pa.ipc.open_stream(body).read_all().to_batches()[0].equals(ROWS)
        assert len({address for *_, address in seen}) == 1  # one connection, kept open


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (422, {"message": "column 'x': odd", "row": 1}, errors.DataRefused, "column 'x': odd"),
        (400, {"message": "odd"}, errors.DataRefused, "odd"),
        (422, {"message": "cannot be loaded", "reason": "model"}, errors.ModelBroken, "cannot be loaded"),
        (413, {"message": "big"}, errors.TooLarge, "big"),
        (429, {"message": "slow down"}, errors.Overloaded, "slow down"),
        (503, {"message": "busy"}, errors.Overloaded, "busy"),
        (401, {"message": "Invalid API token"}, errors.AccessRefused, "Invalid API token"),
        (403, {"message": "no"}, errors.AccessRefused, "no"),
        (404, {"message": "unknown"}, errors.AccessRefused, "unknown"),
        (408, {"message": "slow"}, errors.ServerUnavailable, "slow"),
        (500, {}, errors.ServerUnavailable, "500"),
        (502, [], errors.ServerUnavailable, "502"),
        (504, "<html>", errors.ServerUnavailable, "504"),
        (302, {}, errors.ServerUnavailable, "302"),
    ],
)
def test_statuses(status, body, kind, words):
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    with server(status, raw) as (scorer, _), pytest.raises(errors.ScoringError, match=words) as raised:
        scorer.score(ROWS, ScoreOptions())
    assert type(raised.value) is kind
    assert "scl_tok" not in raised.value.message
    if kind is errors.DataRefused:
        assert raised.value.row == (1 if "row" in body else None)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("soon", None), ("", None), ("-3", 0.0)])
def test_the_time_to_come_back(header, seconds):
    with server(503, b"{}", [("Retry-After", header)]) as (scorer, _), pytest.raises(errors.Overloaded) as raised:
        scorer.score(ROWS, ScoreOptions())
    assert raised.value.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (answer([[0.5, 0.5]]), errors.WrongAnswer),
        (answer([[0.5, 0.5]] * 3), errors.WrongAnswer),
        (answer([[0.5], [0.5]]), errors.ModelBroken),
        (b"", errors.WrongAnswer),
        (b"not arrow at all", errors.WrongAnswer),
        (answer([[0.5, 0.5]] * 2)[:-40], errors.WrongAnswer),
        (exchange.encode(pa.record_batch({"0": ["a", "b"], "1": ["a", "b"]})).to_pybytes(), errors.WrongAnswer),
    ],
)
def test_answers_that_do_not_fit(body, kind):
    with server(200, body) as (scorer, _), pytest.raises(kind):
        scorer.score(ROWS, ScoreOptions())


def test_nobody_there():
    scorer = open_scorer(ServerAddress("http://127.0.0.1:9", "p1", "t"), PLAN)
    with pytest.raises(errors.ServerUnavailable, match="does not answer"):
        scorer.score(ROWS, ScoreOptions())
    scorer.close()
    scorer.close()


def _self_signed(folder: Path) -> Path:
    """Write a key and a certificate for this machine that nobody has signed; return their file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    moment = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + made.public_bytes(pem))
    return folder / "server.pem"


@pytest.mark.parametrize("reach", [None, Reach(anywhere=True)], ids=["registered", "of a job"])
def test_a_certificate_that_is_not_trusted_is_named_and_nothing_is_sent(tmp_path, reach):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_self_signed(tmp_path))
        running.socket = context.wrap_socket(running.socket, server_side=True)
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        call = Transport("prediction server here", {}, reach=reach)
        try:
            with pytest.raises(errors.AccessRefused, match=r"certificate of the prediction server here.*self.signed"):
                call.post(f"https://127.0.0.1:{running.server_port}/", b"", content_type="x", seconds=5, most_bytes=9)
        finally:
            call.close()
            running.shutdown()
            thread.join()
    assert seen == []


def test_unknown_kinds_are_refused():
    with pytest.raises(errors.SetupError, match="'sagemaker' is not known"):
        open_scorer(ServerAddress("http://x", "p", "t", kind="sagemaker"), PLAN)
