"""Every answer of a running API held against its OpenAPI document: status, media type, headers, and JSON to the letter.

Objects may have no more fields than the document names, so that none is added without being described.
"""

from __future__ import annotations

import copy
import json
import re

import jsonschema_rs

_METHODS = ("get", "post", "put", "patch", "delete")


class Conform:
    """ASGI middleware that notes what deviates in `found`. Unknown addresses and methods are none of its business."""

    def __init__(self, app, document, found):
        self._app = app
        self._found = found
        self._answers = Answers(document)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"].lower()
        head, body, ended = {}, bytearray(), False

        async def note(message):
            nonlocal ended
            if message["type"] == "http.response.start":
                head.update(message)
            else:
                body.extend(message.get("body", b""))
                ended = not message.get("more_body", False)
            await send(message)

        await self._app(scope, receive, note)
        if ended:
            headers = {name.decode().lower(): value.decode() for name, value in head["headers"]}
            for deviation in self._answers.deviations(method, path, head["status"], headers, bytes(body)):
                self._found.append(f"{method.upper()} {path}: {deviation}")


class Answers:
    """The answers that a document allows."""

    def __init__(self, document):
        self._document = closed(document)
        self._paths = [
            (re.compile(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path)) + "?"), item)
            for path, item in sorted(document["paths"].items(), key=lambda pair: "{" in pair[0])
        ]
        self._validators = {}

    def deviations(self, method, path, status, headers, body):
        """Yield what an answer has that the document does not allow."""
        operation = self._operation(method, path)
        if operation is None:
            return
        answer = operation["responses"].get(str(status))
        if answer is None:
            yield f"status {status} is not documented: {body[:200]!r}"
            return
        for name in answer.get("headers", {}):
            if name.lower() not in headers:
                yield f"status {status} comes without the header {name}"
        content = answer.get("content")
        kind = headers.get("content-type", "").partition(";")[0]
        if content is None:
            if body:
                yield f"status {status} has a body: {body[:200]!r}"
        elif kind not in content:
            yield f"status {status} is {kind!r}, not {' or '.join(content)}"
        elif kind == "application/json":
            yield from self._schema_errors(content[kind]["schema"], status, body)

    def _operation(self, method, path):
        for pattern, item in self._paths:
            if pattern.fullmatch(path) and method in item:
                return item[method]
        return None

    def _schema_errors(self, schema, status, body):
        key = json.dumps(schema)
        if key not in self._validators:
            whole = closed(schema) | {"components": self._document["components"]}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole)
        for error in self._validators[key].iter_errors(json.loads(body)):
            yield f"status {status} at {list(error.instance_path)}: {error.message[:300]}"


def closed(schema):
    """Return a schema whose objects have no fields but the described ones."""
    schema = copy.deepcopy(schema)
    _close(schema)
    return schema


def _close(value):
    if isinstance(value, dict):
        if value.get("type") == "object" and isinstance(value.get("properties"), dict):
            value.setdefault("additionalProperties", False)
        for inner in value.values():
            _close(inner)
    elif isinstance(value, list):
        for inner in value:
            _close(inner)
