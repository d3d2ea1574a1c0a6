"""The catalogue of datasets: files that are stored once and scored as often as wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response, StreamingResponse

from scoreline.api import forms
from scoreline.api.calls import Call, Called, PassedOn, body_of, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.dataset_making import from_form, from_url
from scoreline.api.jsonio import JsonResponse
from scoreline.api.paging import page, page_out_of
from scoreline.api.wire import dataset_answers
from scoreline.api.wire.answers import Page
from scoreline.api.wire.base import Paging
from scoreline.api.wire.datasets import (
    DatasetChange,
    DatasetQuery,
    DatasetUrl,
    FeatureQuery,
    dataset_document,
    details_document,
    feature_document,
    refusal,
)
from scoreline.catalog import datasets
from scoreline.catalog.records import Dataset, State
from scoreline.errors import Conflict, NotFound
from scoreline.jobs import datasets as used
from scoreline.jobs import plans
from scoreline.pipeline.unpack import Unpacked
from scoreline.rows import forms as shapes
from scoreline.types import JsonObject

router = APIRouter(prefix="/datasets", tags=["datasets"])

_FORM: JsonObject = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}, "categories": {"type": "string"}},
    "required": ["file"],
}
_SENT = documented(upload={forms.FORM: _FORM})
_MADE = answer(dataset_answers.DatasetMade, 202, location=True)
_BYTES: JsonObject = {"type": "string", "format": "binary"}
_FILE = answer(None, refuses=(409,), content={kind: {"schema": _BYTES} for kind in ("text/csv", "application/parquet")})
_NOTHING = answer(None, 204)
_BLOCK_BYTES = 1 << 20


@router.post("/fromFile/", status_code=202, responses=_MADE, openapi_extra=_SENT)
async def create_dataset(call: Called) -> Response:
    """Make a dataset of the file in the field `file` of a form: CSV in UTF-8, packed or not, or Parquet."""
    return await from_form(call)


@router.post("/fromURL/", status_code=202, responses=_MADE, openapi_extra=documented(body=DatasetUrl))
async def create_dataset_from_url(call: Called, body: Annotated[DatasetUrl, Depends(body_of(DatasetUrl))]) -> Response:
    """Make a dataset of a file on a web server."""
    return await from_url(call, body.url, body.categories)


@router.post(
    "/{dataset_id}/versions/fromURL/", status_code=202, responses=_MADE, openapi_extra=documented(body=DatasetUrl)
)
async def create_dataset_version_from_url(
    call: Called, dataset_id: str, body: Annotated[DatasetUrl, Depends(body_of(DatasetUrl))]
) -> Response:
    """Make a version of a dataset of a file on a web server; it becomes the latest one."""
    return await from_url(call, body.url, body.categories, dataset_id)


@router.post("/{dataset_id}/versions/fromFile/", status_code=202, responses=_MADE, openapi_extra=_SENT)
async def create_dataset_version(call: Called, dataset_id: str) -> Response:
    """Make a version of a dataset of the file in the field `file` of a form; it becomes the latest one."""
    return await from_form(call, dataset_id)


@router.get("/", responses=answer(Page[dataset_answers.Dataset]), openapi_extra=documented(query=DatasetQuery))
def list_datasets(call: Called, query: Annotated[DatasetQuery, Depends(query_of(DatasetQuery))]) -> Response:
    """List datasets, each with its latest version, the newest first unless `orderBy` says otherwise."""
    found = datasets.page(
        call.store,
        call.caller,
        category=query.category,
        order=query.order_by,
        without_failed=query.filter_failed,
        offset=query.offset,
        limit=query.limit,
    )
    return JsonResponse(page(call.request, query, [dataset_document(each) for each in found.items], found.total))


@router.get("/{dataset_id}/", responses=answer(dataset_answers.DatasetDetails))
def get_dataset(call: Called, dataset_id: str) -> Response:
    """Return a dataset with its latest version."""
    return JsonResponse(details_document(datasets.get(call.store, call.caller, dataset_id)))


@router.patch(
    "/{dataset_id}/", responses=answer(dataset_answers.DatasetDetails), openapi_extra=documented(body=DatasetChange)
)
def change_dataset(
    call: Called, dataset_id: str, body: Annotated[DatasetChange, Depends(body_of(DatasetChange))]
) -> Response:
    """Give a dataset another name, or other categories."""
    changed = datasets.modify(call.store, call.caller, dataset_id, name=body.name, categories=body.categories)
    return JsonResponse(details_document(changed))


@router.delete("/{dataset_id}/", status_code=204, responses=_NOTHING)
def delete_dataset(call: Called, dataset_id: str) -> Response:
    """Delete a dataset with all its versions; not while a job that is not over reads it."""
    used.delete(call.store, call.caller, dataset_id)
    return Response(status_code=204)


@router.patch("/{dataset_id}/deleted/", status_code=204, responses=_NOTHING)
def restore_dataset(call: Called, dataset_id: str) -> Response:
    """Bring a deleted dataset back, as long as its data is kept."""
    datasets.undelete(call.store, call.caller, dataset_id)
    return Response(status_code=204)


@router.get(
    "/{dataset_id}/versions/", responses=answer(Page[dataset_answers.Dataset]), openapi_extra=documented(query=Paging)
)
def list_dataset_versions(
    call: Called, dataset_id: str, query: Annotated[Paging, Depends(query_of(Paging))]
) -> Response:
    """List the versions of a dataset, the newest first, failed ones included."""
    found = datasets.versions_of(call.store, call.caller, dataset_id, offset=query.offset, limit=query.limit)
    return JsonResponse(page(call.request, query, [dataset_document(each) for each in found.items], found.total))


@router.get("/{dataset_id}/versions/{version_id}/", responses=answer(dataset_answers.DatasetDetails))
def get_dataset_version(call: Called, dataset_id: str, version_id: str) -> Response:
    """Return a dataset with one of its versions."""
    return JsonResponse(details_document(datasets.get(call.store, call.caller, dataset_id, version_id)))


@router.get(
    "/{dataset_id}/allFeaturesDetails/",
    responses=answer(Page[dataset_answers.DatasetFeature], refuses=(409,)),
    openapi_extra=documented(query=FeatureQuery),
)
def list_dataset_features(
    call: Called, dataset_id: str, query: Annotated[FeatureQuery, Depends(query_of(FeatureQuery))]
) -> Response:
    """List the columns of the latest version of a dataset."""
    return _features(call, _made(call, dataset_id), query)


@router.get(
    "/{dataset_id}/versions/{version_id}/allFeaturesDetails/",
    responses=answer(Page[dataset_answers.DatasetFeature], refuses=(409,)),
    openapi_extra=documented(query=FeatureQuery),
)
def list_dataset_version_features(
    call: Called, dataset_id: str, version_id: str, query: Annotated[FeatureQuery, Depends(query_of(FeatureQuery))]
) -> Response:
    """List the columns of a version of a dataset."""
    return _features(call, _made(call, dataset_id, version_id), query)


@router.get("/{dataset_id}/file/", responses=_FILE)
def get_dataset_file(call: Called, dataset_id: str) -> Response:
    """Return the latest version of a dataset as a file: as it came, but for a packed CSV, which is sent unpacked."""
    return _file(call, _made(call, dataset_id))


@router.get("/{dataset_id}/versions/{version_id}/file/", responses=_FILE)
def get_dataset_version_file(call: Called, dataset_id: str, version_id: str) -> Response:
    """Return a version of a dataset as a file: as it came, but for a packed CSV, which is sent unpacked."""
    return _file(call, _made(call, dataset_id, version_id))


@router.get("/{dataset_id}/projects/", responses=answer(Page[JsonObject]), openapi_extra=documented(query=Paging))
def list_dataset_projects(
    call: Called, dataset_id: str, query: Annotated[Paging, Depends(query_of(Paging))]
) -> Response:
    """List the projects that use a dataset: none, since there are no projects here."""
    datasets.get(call.store, call.caller, dataset_id)
    return JsonResponse(page(call.request, query, [], 0))


@router.post("/{dataset_id}/", status_code=202, responses=answer(None, 202), include_in_schema=False)
@router.post("/{dataset_id}/versions/{part}/", status_code=202, responses=answer(None, 202), include_in_schema=False)
@router.api_route(
    "/{dataset_id}/{part}/", methods=["GET", "POST", "PATCH"], responses=answer(None), include_in_schema=False
)
@router.get("/{dataset_id}/{part}/{name}/", responses=answer(None), include_in_schema=False)
def refuse_part(call: PassedOn, dataset_id: str, part: str | None = None, name: str | None = None) -> Response:  # noqa: ARG001 -- only known callers are told
    """Refuse by name what other catalogues have, and this one has not."""
    asked = dataset_id if part is None else part
    raise refusal(asked) or NotFound(f"There is no {asked[:100]!r} of datasets.")


def _made(call: Call, dataset_id: str, version_id: str | None = None) -> Dataset:
    """Return a dataset with a version that has rows. Raises NotFound, Conflict."""
    found = datasets.get(call.store, call.caller, dataset_id, version_id)
    if found.version.state is State.RUNNING:
        raise Conflict(f"Dataset {found.name!r} is still being made: wait until its processingState is COMPLETED.")
    if found.version.state is State.ERROR:
        raise Conflict(f"Dataset {found.name!r} has no rows, since it could not be made: {found.version.error}")
    return found


def _features(call: Call, found: Dataset, query: FeatureQuery) -> Response:
    known = datasets.features(call.store, found.version.id)
    documents = [feature_document(found, number, each) for number, each in enumerate(known)]
    return JsonResponse(page_out_of(call.request, query, query.sort(documents)))


def _file(call: Call, found: Dataset) -> Response:
    version = found.version
    kind = "text/csv" if version.form == shapes.CSV else "application/parquet"
    packed = version.packing is not None
    # The length lets clients see when an answer breaks off.
    headers = {"Content-Length": str(version.size if packed else version.stored)}
    return StreamingResponse(_blocks(call, found), headers=headers, media_type=kind)


def _blocks(call: Call, found: Dataset) -> Iterator[bytes]:
    with call.spool.open_object(found.version.object_name) as file:
        blocks: Any = iter(lambda: file.read(_BLOCK_BYTES), b"")
        if found.version.packing is None:
            yield from blocks
        else:
            yield from Unpacked(blocks, plans.limits(call.settings, kept=False))
