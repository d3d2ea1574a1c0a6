"""A request for a job that comes again, because its answer never arrived, is answered with the job that it made.

With an `Idempotency-Key`, the caller says that it is the same request. Without one, a request is taken for a repeat
only when nobody can know its job: the same caller asked for the same, a short time ago, and the connection broke, or
the API died, before the answer was out. So whoever asks twice on purpose gets two jobs.

A row of `job_requests` is stored with its job, in one transaction. Its answer is `pending` until it was `sent` or
`lost`; what is pending for longer than an answer takes belongs to an API that died.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.access import Caller
from scoreline.errors import InvalidRequest
from scoreline.jobs import store as rows
from scoreline.jobs.model import JobState, UploadState, clock
from scoreline.store import Store, now
from scoreline.store.tables.jobs import job_requests, jobs

KEPT = timedelta(hours=24)
"""How long a key is remembered."""

WINDOW = timedelta(minutes=15)
"""How long a request without a key may come again: clients give up sooner."""

_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
_ANSWER_TAKES = timedelta(seconds=3)
_PENDING, _SENT, _LOST = "pending", "sent", "lost"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a caller asks for; hashes, because a key may be anything."""

    body_hash: str
    key: str | None = None

    @property
    def key_hash(self) -> str | None:
        """The key as it is stored."""
        return None if self.key is None else hashlib.sha256(self.key.encode()).hexdigest()


def ask(address: str, body: Mapping[str, Any], key: str | None) -> Ask:
    """Return what a request asks for: two of them are the same when address and JSON are.

    Raises InvalidRequest for a key that is not 1 to 255 characters of ASCII without control characters.
    """
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest(f"The header {_HEADER} is 1 to 255 visible ASCII characters.", _HEADER)
    text = json.dumps([address, body], sort_keys=True, separators=(",", ":"))
    return Ask(hashlib.sha256(text.encode()).hexdigest(), key)


def known(store: Store, caller: Caller, asked: Ask) -> str | None:
    """Return the job that was made under the key, whatever has become of its deployment. Raises as `earlier`."""
    with store.read() as connection:
        return _keyed(connection, caller, asked)


def earlier(store: Store, connection: Connection, caller: Caller, asked: Ask) -> str | None:
    """Return the job that the same request made before, None for a new one; nobody else decides this meanwhile.

    Raises InvalidRequest when something else was asked under the key.
    """
    if asked.key is None:
        return _lost(connection, caller, asked)
    store.lock(connection, f"job request {caller.user_id} {asked.key_hash}")
    return _keyed(connection, caller, asked)


def note(connection: Connection, caller: Caller, asked: Ask, job_id: str) -> None:
    """Remember that a request made a job; forget what is too old to come again."""
    moment = now()
    old = sa.and_(job_requests.c.user_id == caller.user_id, job_requests.c.asked_at <= moment - KEPT)
    connection.execute(job_requests.delete().where(old))
    connection.execute(
        job_requests.insert().values(
            job_id=job_id,
            user_id=caller.user_id,
            key_hash=asked.key_hash,
            body_hash=asked.body_hash,
            answer=_PENDING,
            asked_at=moment,
        )
    )


def answered(store: Store, job_id: str, *, sent: bool) -> None:
    """Note whether the answer to the request for a job went out. Raises StoreError."""
    change = job_requests.update().where(job_requests.c.job_id == job_id)
    with store.begin() as connection:
        connection.execute(change.values(answer=_SENT if sent else _LOST))


def _keyed(connection: Connection, caller: Caller, asked: Ask) -> str | None:
    if asked.key is None:
        return None
    query = sa.select(job_requests.c.job_id, job_requests.c.body_hash).where(
        job_requests.c.user_id == caller.user_id,
        job_requests.c.key_hash == asked.key_hash,
        job_requests.c.asked_at > now() - KEPT,
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    if row.body_hash != asked.body_hash:
        raise InvalidRequest(
            f"The {_HEADER} {asked.key!r} was used for another request, which made job {row.job_id}: use a new key "
            "for each job.",
            _HEADER,
        )
    return str(row.job_id)


def _lost(connection: Connection, caller: Caller, asked: Ask) -> str | None:
    """Return a job that the same request made and that nobody was told of; it counts as told from now on."""
    moment = now()
    untold = sa.or_(
        job_requests.c.answer == _LOST,
        sa.and_(job_requests.c.answer == _PENDING, job_requests.c.asked_at < moment - _ANSWER_TAKES),
    )
    query = (
        sa.select(job_requests.c.job_id)
        .join(jobs, jobs.c.id == job_requests.c.job_id)
        .where(
            job_requests.c.user_id == caller.user_id,
            job_requests.c.body_hash == asked.body_hash,
            job_requests.c.key_hash.is_(None),
            untold,
            jobs.c.created_at > moment - WINDOW,
            # Somebody who sends data or takes it away has found the job.
            jobs.c.upload_state.in_((UploadState.NONE, UploadState.WAITING)),
            jobs.c.state != JobState.ABORTED,
            jobs.c.hidden_at.is_(None),
        )
        .order_by(jobs.c.created_at, jobs.c.id)
    )
    for (job_id,) in connection.execute(query).all():
        claim = job_requests.update().where(job_requests.c.job_id == job_id, untold)
        if connection.execute(claim.values(answer=_PENDING, asked_at=moment)).rowcount:
            rows.add_log(connection, job_id, [f"The request for this job came again at {clock(moment)}"])
            return str(job_id)
    return None
