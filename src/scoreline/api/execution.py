"""Execution environments: one, which says what custom models run in here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from scoreline.api.calls import Called, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.paging import page_out_of
from scoreline.api.wire import custom_answers as answers
from scoreline.api.wire.answers import Page
from scoreline.api.wire.base import Paging
from scoreline.api.wire.custom import environment_document, environment_version_document
from scoreline.errors import InvalidRequest, NotFound
from scoreline.registry import execution

router = APIRouter(prefix="/executionEnvironments", tags=["custom models"])


class EnvironmentQuery(Paging):
    """The filters of the list of execution."""

    search_for: str | None = None
    is_own: bool | None = None
    is_public: bool | None = None
    use_cases: str | None = None


class EnvironmentVersionQuery(Paging):
    """The filters of the list of an environment's versions."""

    build_status: str | None = None


@router.get("/", responses=answer(Page[answers.ExecutionEnvironment]), openapi_extra=documented(query=EnvironmentQuery))
def list_execution_environments(
    call: Called, query: Annotated[EnvironmentQuery, Depends(query_of(EnvironmentQuery))]
) -> Response:
    """List the environment."""
    text = f"{execution.NAME} {execution.DESCRIPTION}".casefold()
    fits = (
        (query.search_for or "").casefold() in text
        and query.is_own is not True
        and query.is_public is not False
        and query.use_cases in (None, "customModel")
    )
    return JsonResponse(page_out_of(call.request, query, [environment_document()] if fits else []))


@router.post("/", status_code=201, responses=answer(None, 201))
def create_execution_environment(call: Called) -> Response:  # noqa: ARG001 -- only known callers are told
    """Refuse in words: environments are the operator's."""
    raise InvalidRequest(
        "Execution environments are not made through the API: whoever runs the server names one with SCORELINE_DRUM; "
        f"the one there is has the id {execution.ID}."
    )


@router.get("/{environment_id}/", responses=answer(answers.ExecutionEnvironment))
def get_execution_environment(call: Called, environment_id: str) -> Response:  # noqa: ARG001 -- as above
    """Return the environment."""
    _check(environment_id)
    return JsonResponse(environment_document())


@router.get(
    "/{environment_id}/versions/",
    responses=answer(Page[answers.ExecutionEnvironmentVersion]),
    openapi_extra=documented(query=EnvironmentVersionQuery),
)
def list_execution_environment_versions(
    call: Called,
    environment_id: str,
    query: Annotated[EnvironmentVersionQuery, Depends(query_of(EnvironmentVersionQuery))],
) -> Response:
    """List the environment's only version."""
    _check(environment_id)
    fits = query.build_status in (None, "success")
    return JsonResponse(page_out_of(call.request, query, [environment_version_document()] if fits else []))


@router.get("/{environment_id}/versions/{version_id}/", responses=answer(answers.ExecutionEnvironmentVersion))
def get_execution_environment_version(call: Called, environment_id: str, version_id: str) -> Response:  # noqa: ARG001 -- as above
    """Return the environment's version."""
    _check(environment_id)
    if version_id != execution.VERSION_ID:
        raise NotFound(f"The execution environment has no version {version_id!r}.")
    return JsonResponse(environment_version_document())


def _check(environment_id: str) -> None:
    if environment_id != execution.ID:
        raise NotFound(f"There is no execution environment {environment_id!r}.")
