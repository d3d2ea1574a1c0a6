"""Datasets that come: as files of forms, or from URLs. What takes longer than a moment is told by a status."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from starlette.responses import Response

from scoreline import urls
from scoreline.access import require_write
from scoreline.adapters.webcalls import Caller
from scoreline.adapters.webread import UrlIntake, WebFile
from scoreline.api import forms
from scoreline.api.calls import Call, Installation
from scoreline.api.jsonio import JsonResponse
from scoreline.api.receiving import in_thread
from scoreline.api.scratch import new_folder, scratch_of
from scoreline.api.status import VERSIONS
from scoreline.catalog import datasets, making
from scoreline.catalog.records import Dataset, object_name
from scoreline.credentials import no_keys
from scoreline.errors import InvalidRequest, ScorelineError, ShuttingDown
from scoreline.jobs import plans, ticket, web
from scoreline.jobs.patience import patiently
from scoreline.network import Reach
from scoreline.types import Range, RunLimits

_SHORT = 20.0  # seconds that an answer waits for its dataset, so that the client's first look at the status finds it
_PATIENCE = 45.0  # seconds that the database may be away at the end
_AWAY = 30.0  # seconds that a web server may be away, while somebody waits for its file
_SILENT = 15.0  # seconds that it may say nothing
_UNNAMED = "data.csv"
_MOST_NAME = 255
_ANY = 1 << 60

_log = logging.getLogger(__name__)

Check = Callable[[], None]


async def from_form(call: Call, dataset_id: str | None = None) -> Response:
    """Make a dataset, or a version of one, of the file in a request's form. Raises as `forms.receive_form`."""
    here = call.installation
    await in_thread(here, _check, call, dataset_id)
    sender = here.presence.sender()
    folder = await in_thread(here, new_folder, scratch_of(call.settings), sender)
    here.makers.claim(sender)
    try:
        most = call.settings.max_dataset_bytes or _ANY
        form = await forms.receive_form(call, folder, most, "dataset", "SCORELINE_MAX_DATASET_BYTES")
        file = forms.only_file(form, "dataset", also=("categories",))
        _check_size(file.path)
        name = _name(file.name)
        begun = await in_thread(
            here,
            lambda: datasets.begin(
                call.store,
                call.caller,
                name=name,
                source="file",
                origin=name,
                maker=sender,
                dataset_id=dataset_id,
                categories=_categories(form),
            ),
        )
    except BaseException:
        here.makers.release(sender)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return await started(call, begun, sender, folder, lambda check: making_of(here, begun, file.path, check))


async def from_url(call: Call, url: str, categories: Sequence[str], dataset_id: str | None = None) -> Response:
    """Make a dataset, or a version of one, of a file on a web server. Raises InvalidRequest, NotFound, Forbidden."""
    here = call.installation
    web.check_url(url, "url")
    await in_thread(here, _check, call, dataset_id)
    sender = here.presence.sender()
    folder = await in_thread(here, new_folder, scratch_of(call.settings), sender)
    here.makers.claim(sender)
    try:
        reach = await in_thread(here, ticket.reach, call.store, call.caller.user_id, call.settings, here.outside)
        begun = await in_thread(
            here,
            lambda: datasets.begin(
                call.store,
                call.caller,
                name=_name(unquote(urlsplit(url).path.rstrip("/"))),
                source="url",
                origin=urls.shown(url),
                maker=sender,
                dataset_id=dataset_id,
                categories=categories,
            ),
        )
    except BaseException:
        here.makers.release(sender)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    target = folder / "body"

    def work(check: Check) -> None:
        limits = replace(plans.limits(here.settings, kept=False), patience_seconds=_AWAY)
        caller = Caller(_Bounds(limits, reach), {"url": url}, no_keys, "Dataset", silent=_SILENT)
        with closing(UrlIntake(WebFile(caller))) as source:
            blocks = source.blocks(Range(), 0)
            making.fetch(blocks, target, here.settings.max_dataset_bytes, here.spool, check)
        making_of(here, begun, target, check)

    return await started(call, begun, sender, folder, work)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What bounds the calls for a URL; see `webcalls.Bounds`."""

    limits: RunLimits
    reach: Reach


def making_of(here: Installation, begun: Dataset, file: Path, check: Check) -> None:
    """Make the version of a file at hand. Raises as `making.make`."""
    making.make(
        here.store, here.spool, begun.version.id, file, limits=plans.limits(here.settings, kept=False), check=check
    )


async def started(call: Call, begun: Dataset, sender: str, folder: Path, work: Callable[[Check], None]) -> Response:
    """Do the work, which makes a version, and delete its folder then; answer soon, whether it is done or not."""
    here = call.installation
    done = here.makers.start(sender, partial(_made, here, begun.version.id, folder, work))
    await asyncio.wait([asyncio.wrap_future(done)], timeout=_SHORT)
    status_id = f"{VERSIONS}-{begun.version.id}"
    document = {"catalogId": begun.id, "catalogVersionId": begun.version.id, "statusId": status_id}
    return JsonResponse(document, 202, {"Location": call.links.to("status", status_id)})


def _made(here: Installation, version_id: str, folder: Path, work: Callable[[Check], None]) -> None:
    def check() -> None:
        if here.closing.is_set():
            raise ShuttingDown("Making the dataset failed: the API server went down; send the data again.")

    try:
        work(check)
    except ScorelineError as exc:
        _failed(here, version_id, exc.message)
    except Exception:  # noqa: BLE001 -- somebody waits to be told, whatever it is
        _log.exception("a dataset could not be made")
        _failed(here, version_id, "Making the dataset failed inside Scoreline: its log says more.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _failed(here: Installation, version_id: str, message: str) -> None:
    try:
        here.spool.delete_object(object_name(version_id))
        patiently(lambda: datasets.fail(here.store, version_id, message), lambda: None, _PATIENCE)
    except ScorelineError as exc:  # then the keeper will find that nobody makes it
        _log.warning("dataset version %s: it could not be noted that it failed: %s", version_id, exc.message)


def _check(call: Call, dataset_id: str | None) -> None:
    """Raise what is known before the data comes: Forbidden, NotFound, SpoolFull."""
    require_write(call.caller)
    if dataset_id is not None:
        datasets.check_changeable(call.store, call.caller, dataset_id)
    call.spool.check_space()


def _check_size(file: Path) -> None:
    if not file.stat().st_size:
        raise InvalidRequest("The file is empty: send one with a header and rows.", "file")


def _name(given: str | None) -> str:
    """Return a file's name as a dataset's: without folders and what cannot be printed."""
    last = (given or "").replace("\\", "/").rpartition("/")[2]
    return "".join(sign for sign in last if sign.isprintable()).strip()[:_MOST_NAME] or _UNNAMED


def _categories(form: forms.Form) -> list[str]:
    return [each for each in form.texts.get("categories", ()) if each]
