"""Asking a prediction server what a model says about itself; nobody else ever loads one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2

from scoreline.access import Caller, require_write, tokens
from scoreline.errors import Conflict, InvalidRequest, one_line
from scoreline.registry import artifacts, servers
from scoreline.registry.records import Artifact, Server, info_from_json
from scoreline.store import Store, now
from scoreline.types import JsonObject, ModelInfo

_PATH = "/scoreline/v1/inspect"
_WAIT_SECONDS = 20.0  # for a server that starts or is busy
_PAUSE_SECONDS = 0.5
_TIMEOUT = httpx2.Timeout(300.0, connect=5.0)  # a large model takes minutes to load


def inspect(
    store: Store,
    caller: Caller,
    sha256: str,
    *,
    sample: Mapping[str, str] | None = None,
    wait: float = _WAIT_SECONDS,
) -> Artifact:
    """Have a prediction server load the artefact and score a row; keep and return what it says about itself.

    sample: text of a row to score, by column; without it, a made-up one. wait: seconds for a server that is not known,
    or does not answer, yet. Raises NotFound; InvalidRequest when the model cannot be loaded or contradicts itself;
    Conflict when no prediction server can be asked.
    """
    require_write(caller)
    artifact = artifacts.get(store, caller, sha256)
    deadline = time.monotonic() + wait
    candidates = _candidates(store, caller, artifact, deadline)
    token, secret = tokens.create(
        store,
        caller.user_id,
        f"inspection of {sha256[:12]}",
        kind="service",
        expires=now() + timedelta(minutes=10),
        rights=["inspect"],
    )
    body = {"artifact": sha256, "trusted": artifact.trusted, "sample": None if sample is None else dict(sample)}
    try:
        answer = _ask(artifact, candidates, secret, body, deadline)
    finally:
        tokens.end(store, token.id)
    info = _read(artifact, answer)
    artifacts.set_info(store, artifact, info)
    return replace(artifact, info=info)


def _candidates(store: Store, caller: Caller, artifact: Artifact, deadline: float) -> list[Server]:
    """Return the servers that may be asked; one that has just been started takes a moment to make itself known."""
    while not (found := [known for known in servers.list_servers(store, caller) if known.kind == servers.OWN]):
        if time.monotonic() + _PAUSE_SECONDS > deadline:
            raise Conflict(
                f"The model {artifact.filename!r} cannot be checked, because there is no prediction server: start one "
                "with `scoreline predictor` (`scoreline serve` includes one)."
            )
        time.sleep(_PAUSE_SECONDS)
    return found


def _ask(artifact: Artifact, candidates: list[Server], secret: str, body: JsonObject, deadline: float) -> JsonObject:
    """Return the first answer; servers that cannot be reached or are busy are asked again until the time is up."""
    headers = {"Authorization": f"Bearer {secret}"}
    # Own addresses only: a proxy from the environment must not see the token.
    with httpx2.Client(timeout=_TIMEOUT, headers=headers, trust_env=False) as client:
        while True:
            for server in candidates:
                try:
                    response = client.post(server.url + _PATH, json=body)
                except httpx2.TransportError as exc:
                    trouble = f"{server.url} does not answer ({type(exc).__name__})"
                    continue
                if response.status_code != 503:
                    return _answer(artifact, server, response)
                trouble = f"{server.url} is busy"
            if time.monotonic() + _PAUSE_SECONDS > deadline:
                raise Conflict(
                    f"The model cannot be checked, because the prediction server {trouble}: see that "
                    "`scoreline predictor` runs (`scoreline serve` includes it) and register the model again."
                )
            time.sleep(_PAUSE_SECONDS)


def _answer(artifact: Artifact, server: Server, response: httpx2.Response) -> JsonObject:
    try:
        document = response.json()
    except ValueError:
        document = None
    if response.status_code == 200 and isinstance(document, dict):
        return document
    said = document.get("message") if isinstance(document, dict) else None
    if response.status_code in (400, 422):
        # A folder has the name of its content there.
        raise InvalidRequest(
            str(said or "The model cannot be loaded.").replace(artifact.sha256, artifact.filename), "file"
        )
    raise Conflict(
        f"The model cannot be checked: the prediction server {server.url} answered {response.status_code} "
        f"({one_line(str(said or response.reason_phrase), 200)}); see its log."
    )


def _read(artifact: Artifact, answer: JsonObject) -> ModelInfo:
    """Check the answer: what the model says, and what it did with one row, must be the same."""
    try:
        info = info_from_json(answer["info"])
        outputs = int(_mapping(answer["check"])["outputs"])
    except (KeyError, TypeError, ValueError) as exc:
        raise Conflict(
            f"The prediction server's answer about {artifact.filename!r} is not understood ({exc!r})."
        ) from exc
    if info.class_labels is not None and len(info.class_labels) != outputs:
        raise InvalidRequest(
            f"The model {artifact.filename!r} names {len(info.class_labels)} classes but gives {outputs} outputs: "
            "it is damaged, or not saved whole.",
            "file",
        )
    return replace(info, outputs=outputs)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return value
