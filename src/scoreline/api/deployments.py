"""Deployments: make, list, look at, change, remove."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from scoreline.api.calls import Call, Called, JsonBody, body_of, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.paging import page, page_out_of
from scoreline.api.status import done
from scoreline.api.wire import answers, bodies, deployment_answers, model_answers
from scoreline.api.wire.base import Paging
from scoreline.api.wire.deployments import (
    COLLECTION,
    DeploymentChange,
    DeploymentQuery,
    NewDeployment,
    NewModelDeployment,
    StatusChange,
    capabilities_document,
    deployment_document,
    features_document,
)
from scoreline.api.wire.packages import package_document
from scoreline.api.wire.replacement import (
    ModelChoice,
    ModelReplacement,
    ReplacedAnswer,
    ServedAnswer,
    ValidationAnswer,
    history_document,
    validation_document,
)
from scoreline.api.wire.settings import SettingsAnswer
from scoreline.errors import InvalidRequest
from scoreline.jobs import service
from scoreline.registry import deployments, packages, replacement, settings
from scoreline.registry.records import Deployment

router = APIRouter(prefix=f"/{COLLECTION}", tags=["deployments"])


@router.get(
    "/", responses=answer(answers.Page[deployment_answers.Deployment]), openapi_extra=documented(query=DeploymentQuery)
)
def list_deployments(call: Called, query: Annotated[DeploymentQuery, Depends(query_of(DeploymentQuery))]) -> Response:
    """List deployments, by label unless `orderBy` says otherwise."""
    if query.matches_nothing():
        return JsonResponse(page(call.request, query, [], 0))
    found = deployments.list_deployments(
        call.store, call.caller, query.filters(), order_by=query.order(), offset=query.offset, limit=query.limit
    )
    items = [deployment_document(each, call.caller) for each in found.items]
    return JsonResponse(page(call.request, query, items, found.total))


@router.post(
    "/fromModelPackage/",
    status_code=202,
    responses=answer(answers.Made, 202, location=True),
    openapi_extra=documented(body=NewDeployment),
)
def deploy(call: Called, body: Annotated[NewDeployment, Depends(body_of(NewDeployment))]) -> Response:
    """Deploy a model package. It is done when this is answered, and the status link says so."""
    body.check_place()
    made = deployments.create(
        call.store,
        call.caller,
        body.model_package_id,
        body.label,
        description=body.description,
        server_id=body.default_prediction_server_id,
        environment_id=body.prediction_environment_id,
        importance=body.importance,
        user_provided_id=body.user_provided_id,
        additional_metadata=body.additional_metadata,
    )
    return done(call, COLLECTION, made.id)


@router.post(
    "/fromLearningModel/",
    status_code=202,
    responses=answer(answers.Made, 202, location=True),
    openapi_extra=documented(body=NewModelDeployment),
)
def deploy_learning_model(
    call: Called, body: Annotated[NewModelDeployment, Depends(body_of(NewModelDeployment))]
) -> Response:
    """Deploy the newest package of a model, as older clients do."""
    return _deploy_model(call, body)


@router.post(
    "/fromLeaderboard/",
    status_code=202,
    responses=answer(answers.Made, 202, location=True),
    openapi_extra=documented(body=NewModelDeployment),
)
def deploy_leaderboard_model(
    call: Called, body: Annotated[NewModelDeployment, Depends(body_of(NewModelDeployment))]
) -> Response:
    """Deploy the newest package of a model, as older clients do."""
    return _deploy_model(call, body)


@router.get("/{deployment_id}/", responses=answer(deployment_answers.Deployment))
def get_deployment(call: Called, deployment_id: str) -> Response:
    """Return a deployment."""
    return JsonResponse(deployment_document(_get(call, deployment_id), call.caller))


@router.patch(
    "/{deployment_id}/",
    status_code=204,
    responses=answer(None, 204),
    openapi_extra=documented(body=DeploymentChange),
)
def change_deployment(
    call: Called, deployment_id: str, body: Annotated[DeploymentChange, Depends(body_of(DeploymentChange))]
) -> Response:
    """Change a deployment's label, description or importance."""
    deployments.update(
        call.store,
        call.caller,
        deployment_id,
        label=body.label,
        description=body.description,
        importance=body.importance,
    )
    return Response(status_code=204)


@router.delete("/{deployment_id}/", status_code=204, responses=answer(None, 204))
def delete_deployment(call: Called, deployment_id: str) -> Response:
    """Remove a deployment that has no job which runs or waits, for its data or in line."""
    service.check_unused(call.store, deployment_id, _get(call, deployment_id).label)
    deployments.delete(call.store, call.caller, deployment_id)
    return Response(status_code=204)


@router.patch(
    "/{deployment_id}/status/",
    status_code=202,
    responses=answer(answers.Made, 202, location=True),
    openapi_extra=documented(body=StatusChange),
)
def change_status(
    call: Called, deployment_id: str, body: Annotated[StatusChange, Depends(body_of(StatusChange))]
) -> Response:
    """Switch a deployment on or off."""
    deployments.set_status(call.store, call.caller, deployment_id, body.status)
    return done(call, COLLECTION, deployment_id)


@router.post(
    "/{deployment_id}/model/validation/",
    responses=answer(ValidationAnswer),
    openapi_extra=documented(body=ModelChoice),
)
def validate_model(
    call: Called, deployment_id: str, body: Annotated[ModelChoice, Depends(body_of(ModelChoice))]
) -> Response:
    """Say whether a model may replace the deployment's."""
    found = replacement.validate(
        call.store, call.caller, deployment_id, package_id=body.model_package_id, model_id=body.model_id
    )
    return JsonResponse(validation_document(found))


@router.patch(
    "/{deployment_id}/model/",
    status_code=202,
    responses=answer(ReplacedAnswer, 202, location=True),
    openapi_extra=documented(body=ModelReplacement),
)
def replace_model(
    call: Called, deployment_id: str, body: Annotated[ModelReplacement, Depends(body_of(ModelReplacement))]
) -> Response:
    """Replace the deployment's model, for all jobs and requests that come from now on."""
    _, found = replacement.replace(
        call.store,
        call.caller,
        deployment_id,
        package_id=body.model_package_id,
        model_id=body.model_id,
        reason=body.reason,
    )
    return done(call, COLLECTION, deployment_id, **validation_document(found))


@router.get(
    "/{deployment_id}/modelHistory/",
    responses=answer(answers.Page[ServedAnswer]),
    openapi_extra=documented(query=Paging),
)
def list_served_models(
    call: Called, deployment_id: str, query: Annotated[Paging, Depends(query_of(Paging))]
) -> Response:
    """List the models that the deployment has had, the present one first."""
    found = [history_document(each) for each in replacement.list_models(call.store, call.caller, deployment_id)]
    return JsonResponse(page_out_of(call.request, query, found))


@router.get("/{deployment_id}/championModelPackage/", responses=answer(model_answers.Package))
def get_champion(call: Called, deployment_id: str) -> Response:
    """Return the model package that the deployment has."""
    return JsonResponse(package_document(_get(call, deployment_id).package, call.caller))


@router.get("/{deployment_id}/settings/", responses=answer(SettingsAnswer))
def get_settings(call: Called, deployment_id: str) -> Response:
    """Return all settings of a deployment."""
    return JsonResponse(settings.document(_get(call, deployment_id).settings))


@router.patch(
    "/{deployment_id}/settings/",
    status_code=202,
    responses=answer(answers.Made, 202, location=True),
    openapi_extra=documented(body=bodies.SETTINGS),
)
def change_settings(call: Called, deployment_id: str, body: JsonBody) -> Response:
    """Change settings: any of them; those of features that are not built yet are refused by name."""
    deployments.change_settings(call.store, call.caller, deployment_id, body)
    return done(call, COLLECTION, deployment_id)


@router.get(
    "/{deployment_id}/features/",
    responses=answer(answers.Page[deployment_answers.DeploymentFeature]),
    openapi_extra=documented(query=Paging),
)
def list_features(call: Called, deployment_id: str, query: Annotated[Paging, Depends(query_of(Paging))]) -> Response:
    """List the columns that a deployment's model reads."""
    return JsonResponse(page_out_of(call.request, query, features_document(_get(call, deployment_id))))


@router.get("/{deployment_id}/capabilities/", responses=answer(deployment_answers.Capabilities))
def list_capabilities(call: Called, deployment_id: str) -> Response:
    """List what a deployment can do beyond scoring."""
    return JsonResponse(capabilities_document(_get(call, deployment_id)))


def _get(call: Call, deployment_id: str) -> Deployment:
    return deployments.get(call.store, call.caller, deployment_id)


def _deploy_model(call: Call, body: NewModelDeployment) -> Response:
    package = packages.of_model(call.store, call.caller, body.model_id)
    if body.prediction_threshold not in (None, package.threshold):
        raise InvalidRequest(
            f"predictionThreshold belongs to the model package, which has {package.threshold!r}: register a version "
            "with the threshold that you want.",
            "predictionThreshold",
        )
    made = deployments.create(
        call.store,
        call.caller,
        package.id,
        body.label,
        description=body.description,
        server_id=body.default_prediction_server_id,
        importance=body.importance,
        status=body.status,
    )
    return done(call, COLLECTION, made.id)
