"""Model packages, and the registered models that they are versions of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from scoreline.api.calls import Call, Called, JsonBody, body_of, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.paging import page
from scoreline.api.wire import answers, bodies, model_answers
from scoreline.api.wire.packages import (
    ModelChange,
    ModelQuery,
    NewBaseline,
    PackageQuery,
    UseQuery,
    VersionQuery,
    model_document,
    package_document,
    use_document,
)
from scoreline.errors import NotFound
from scoreline.registry import environments, packages, registered, uses
from scoreline.registry.records import Package
from scoreline.registry.versions import VersionFilters

router = APIRouter(tags=["models"])


@router.post(
    "/modelPackages/fromJSON/",
    status_code=201,
    responses=answer(model_answers.Package, 201, location=True),
    openapi_extra=documented(body=bodies.PACKAGE),
)
def create_package(call: Called, body: JsonBody) -> Response:
    """Register a model version; `modelDescription.location` ties it to an uploaded artefact."""
    made = packages.create_from_json(call.store, call.caller, body, call.installation.outside)
    location = call.links.to("modelPackages", made.id)
    return JsonResponse(package_document(made, call.caller), 201, {"Location": location})


@router.get(
    "/modelPackages/",
    responses=answer(answers.Page[model_answers.Package]),
    openapi_extra=documented(query=PackageQuery),
)
def list_packages(call: Called, query: Annotated[PackageQuery, Depends(query_of(PackageQuery))]) -> Response:
    """List model packages."""
    return _packages(
        call, query, query.sort_key, registered_model_id=query.registered_model_id, model_id=query.model_id
    )


@router.get("/modelPackages/{package_id}/", responses=answer(model_answers.Package))
def get_package(call: Called, package_id: str) -> Response:
    """Return a model package."""
    return JsonResponse(package_document(packages.get(call.store, call.caller, package_id), call.caller))


@router.put(
    "/modelPackages/{package_id}/baseline/",
    responses=answer(model_answers.Package),
    openapi_extra=documented(body=NewBaseline),
)
def set_baseline(
    call: Called, package_id: str, body: Annotated[NewBaseline, Depends(body_of(NewBaseline))]
) -> Response:
    """Say what a regression model usually predicts, so that jobs can mark outliers. Scoreline's own."""
    made = packages.set_baseline(
        call.store,
        call.caller,
        package_id,
        rows=body.rows,
        lower_quartile=body.lower_quartile,
        upper_quartile=body.upper_quartile,
    )
    return JsonResponse(package_document(made, call.caller))


@router.get(
    "/registeredModels/",
    responses=answer(answers.Page[model_answers.RegisteredModel], refuses=(404,)),
    openapi_extra=documented(query=ModelQuery),
)
def list_models(call: Called, query: Annotated[ModelQuery, Depends(query_of(ModelQuery))]) -> Response:
    """List registered models."""
    found = registered.list_models(
        call.store,
        call.caller,
        search=query.search,
        created_by=query.created_by,
        created=(query.created_at_start_ts, query.created_at_end_ts),
        modified=(query.modified_at_start_ts, query.modified_at_end_ts),
        versions=_filters(call, query),
        sort_key=query.sort_key,
        descending=query.sort_direction == "desc",
        offset=query.offset,
        limit=query.limit,
    )
    return JsonResponse(page(call.request, query, [model_document(model) for model in found.items], found.total))


@router.get("/registeredModels/{model_id}/", responses=answer(model_answers.RegisteredModel))
def get_model(call: Called, model_id: str) -> Response:
    """Return a registered model."""
    return JsonResponse(model_document(registered.get(call.store, call.caller, model_id)))


@router.patch(
    "/registeredModels/{model_id}/",
    responses=answer(model_answers.RegisteredModel),
    openapi_extra=documented(body=ModelChange),
)
def rename_model(call: Called, model_id: str, body: Annotated[ModelChange, Depends(body_of(ModelChange))]) -> Response:
    """Change a registered model's name."""
    return JsonResponse(model_document(registered.rename(call.store, call.caller, model_id, body.name)))


@router.delete("/registeredModels/{model_id}/", status_code=204, responses=answer(None, 204))
def archive_model(call: Called, model_id: str) -> Response:
    """Archive a registered model that is not deployed, with all its versions."""
    registered.archive(call.store, call.caller, model_id)
    return Response(status_code=204)


@router.get(
    "/registeredModels/{model_id}/versions/",
    responses=answer(answers.Page[model_answers.Package]),
    openapi_extra=documented(query=VersionQuery),
)
def list_versions(
    call: Called, model_id: str, query: Annotated[VersionQuery, Depends(query_of(VersionQuery))]
) -> Response:
    """List a registered model's versions."""
    registered.get(call.store, call.caller, model_id)
    return _packages(call, query, query.order(), registered_model_id=model_id, filters=_filters(call, query))


@router.get("/registeredModels/{model_id}/versions/{version_id}/", responses=answer(model_answers.Package))
def get_version(call: Called, model_id: str, version_id: str) -> Response:
    """Return one version of a registered model."""
    return JsonResponse(package_document(_version(call, model_id, version_id), call.caller))


@router.get(
    "/registeredModels/{model_id}/deployments/",
    responses=answer(answers.Page[model_answers.VersionUse]),
    openapi_extra=documented(query=UseQuery),
)
def list_model_uses(call: Called, model_id: str, query: Annotated[UseQuery, Depends(query_of(UseQuery))]) -> Response:
    """List the deployments of a registered model, also those whose model was replaced since."""
    registered.get(call.store, call.caller, model_id)
    return _uses(call, query, registered_model_id=model_id)


@router.get(
    "/registeredModels/{model_id}/versions/{version_id}/deployments/",
    responses=answer(answers.Page[model_answers.VersionUse]),
    openapi_extra=documented(query=UseQuery),
)
def list_version_uses(
    call: Called, model_id: str, version_id: str, query: Annotated[UseQuery, Depends(query_of(UseQuery))]
) -> Response:
    """List the deployments of one version, also those where it was replaced since."""
    _version(call, model_id, version_id)
    return _uses(call, query, package_id=version_id)


def _filters(call: Call, query: ModelQuery | VersionQuery) -> VersionFilters:
    """Return a query's filters with the objects that it names. Raises NotFound."""
    like, place = query.compatible_with_model_package_id, query.prediction_environment_id
    return query.filters(
        None if like is None else packages.get(call.store, call.caller, like),
        None if place is None else environments.get(call.store, call.caller, place),
        query.tags if isinstance(query, VersionQuery) else (),
    )


def _packages(
    call: Call,
    query: PackageQuery | VersionQuery,
    order: str,
    *,
    registered_model_id: str | None,
    model_id: str | None = None,
    filters: VersionFilters | None = None,
) -> Response:
    found = packages.list_packages(
        call.store,
        call.caller,
        registered_model_id=registered_model_id,
        model_id=model_id,
        search=query.search,
        filters=filters,
        sort_key=order,
        descending=query.sort_direction == "desc",
        offset=query.offset,
        limit=query.limit,
    )
    items = [package_document(each, call.caller) for each in found.items]
    return JsonResponse(page(call.request, query, items, found.total))


def _uses(
    call: Call, query: UseQuery, *, registered_model_id: str | None = None, package_id: str | None = None
) -> Response:
    found = uses.list_uses(
        call.store,
        call.caller,
        registered_model_id=registered_model_id,
        package_id=package_id,
        search=query.search,
        sort_key=query.sort_key,
        descending=query.sort_direction == "desc",
        offset=query.offset,
        limit=query.limit,
    )
    return JsonResponse(page(call.request, query, [use_document(each) for each in found.items], found.total))


def _version(call: Call, model_id: str, version_id: str) -> Package:
    package = packages.get(call.store, call.caller, version_id)
    if package.registered_model_id != model_id:
        raise NotFound(f"Registered model {model_id!r} has no version {version_id!r}.")
    return package
