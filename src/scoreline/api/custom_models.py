"""Custom models: make, list, look at, change, copy, remove; and packages of their versions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from scoreline.api.calls import Called, body_of, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.paging import page
from scoreline.api.scratch import scratch_of
from scoreline.api.wire import custom_answers as answers
from scoreline.api.wire.answers import Page
from scoreline.api.wire.custom import (
    CustomModelChange,
    CustomModelCopy,
    CustomModelQuery,
    CustomModelTestQuery,
    NewCustomModel,
    VersionPackage,
    custom_model_document,
)
from scoreline.api.wire.model_answers import Package
from scoreline.api.wire.packages import package_document
from scoreline.errors import InvalidRequest
from scoreline.registry import custom_models
from scoreline.types import JsonObject

router = APIRouter(tags=["custom models"])


@router.post(
    "/customModels/",
    status_code=201,
    responses=answer(answers.CustomModel, 201, location=True),
    openapi_extra=documented(body=NewCustomModel),
)
def create_custom_model(call: Called, body: Annotated[NewCustomModel, Depends(body_of(NewCustomModel))]) -> Response:
    """Make a custom model; its files come with its versions."""
    values = {
        "name": body.name,
        "description": "",
        "language": "",
        "target_type": body.kind().value,
        "target_name": None,
        "class_labels": None,
        "threshold": None,
        "resources": body.resources(),
    }
    made = custom_models.create(call.store, call.caller, values | body.columns())
    return JsonResponse(custom_model_document(made), 201, {"Location": call.links.to("customModels", made.id)})


@router.get(
    "/customModels/", responses=answer(Page[answers.CustomModel]), openapi_extra=documented(query=CustomModelQuery)
)
def list_custom_models(
    call: Called, query: Annotated[CustomModelQuery, Depends(query_of(CustomModelQuery))]
) -> Response:
    """List custom models."""
    if query.custom_model_type != "inference" or query.tag_keys or query.tag_values:
        return JsonResponse(page(call.request, query, [], 0))  # there are no training models and no tags
    found = custom_models.list_models(
        call.store,
        call.caller,
        search=query.search_for,
        deployed=query.is_deployed,
        order_by=query.order_by,
        offset=query.offset,
        limit=query.limit,
    )
    return JsonResponse(page(call.request, query, [custom_model_document(each) for each in found.items], found.total))


@router.post(
    "/customModels/fromCustomModel/",
    status_code=201,
    responses=answer(answers.CustomModel, 201, location=True),
    openapi_extra=documented(body=CustomModelCopy),
)
def copy_custom_model(call: Called, body: Annotated[CustomModelCopy, Depends(body_of(CustomModelCopy))]) -> Response:
    """Make another custom model with the files of one's latest version."""
    made = custom_models.copy(call.store, call.caller, body.custom_model_id)
    return JsonResponse(custom_model_document(made), 201, {"Location": call.links.to("customModels", made.id)})


@router.get("/customModels/{model_id}/", responses=answer(answers.CustomModel))
def get_custom_model(call: Called, model_id: str) -> Response:
    """Return a custom model."""
    return JsonResponse(custom_model_document(custom_models.get(call.store, call.caller, model_id)))


@router.patch(
    "/customModels/{model_id}/",
    responses=answer(answers.CustomModel),
    openapi_extra=documented(body=CustomModelChange),
)
def change_custom_model(
    call: Called, model_id: str, body: Annotated[CustomModelChange, Depends(body_of(CustomModelChange))]
) -> Response:
    """Change a custom model; packages that were made of it stay as they are."""
    values = body.columns()
    if body.name is not None:
        values["name"] = body.name
    if asked := body.resources():
        values["resources"] = custom_models.get(call.store, call.caller, model_id).resources | asked
    return JsonResponse(custom_model_document(custom_models.update(call.store, call.caller, model_id, values)))


@router.delete("/customModels/{model_id}/", status_code=204, responses=answer(None, 204))
def delete_custom_model(call: Called, model_id: str) -> Response:
    """Remove a custom model that is not deployed, with its versions."""
    custom_models.delete(call.store, call.caller, model_id)
    return Response(status_code=204)


@router.post("/customModelTests/", status_code=202, responses=answer(None, 202, location=True))
def refuse_test(call: Called) -> Response:  # noqa: ARG001 -- only known callers are told
    """Refuse in words: a model is tried when it is registered."""
    raise InvalidRequest(
        "Custom models are not tested by themselves here: registering a version loads and tries it, so leave tests out."
    )


@router.get(
    "/customModelTests/",
    responses=answer(Page[JsonObject], refuses=(404,)),
    openapi_extra=documented(query=CustomModelTestQuery),
)
def list_tests(
    call: Called, query: Annotated[CustomModelTestQuery, Depends(query_of(CustomModelTestQuery))]
) -> Response:
    """List the tests of a custom model: none."""
    custom_models.get(call.store, call.caller, query.custom_model_id)
    return JsonResponse(page(call.request, query, [], 0))


@router.post(
    "/modelPackages/fromCustomModelVersion/",
    status_code=201,
    responses=answer(Package, 201, location=True),
    openapi_extra=documented(body=VersionPackage),
)
def register_version(call: Called, body: Annotated[VersionPackage, Depends(body_of(VersionPackage))]) -> Response:
    """Register a custom model version as a model version. A prediction server loads and tries it now."""
    described = {} if body.description is None else {"description": body.description}
    made = custom_models.register(
        call.store,
        call.spool,
        call.caller,
        body.custom_model_version_id,
        {
            "name": body.name,
            "registeredModelId": body.registered_model_id,
            "registeredModelName": body.registered_model_name,
            "registeredModelDescription": body.registered_model_description,
            "registeredModelTags": body.registered_model_tags,
            "tags": body.tags,
            "features": body.features,
            "extraOutputs": body.extra_outputs,
            "modelDescription": described,
        },
        scratch=scratch_of(call.settings),
    )
    return JsonResponse(package_document(made, call.caller), 201, {"Location": call.links.to("modelPackages", made.id)})
