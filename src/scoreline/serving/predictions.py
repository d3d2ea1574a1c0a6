"""`POST .../deployments/{id}/predictions`: the DataRobot Prediction API."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from dataclasses import dataclass

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response

from scoreline.errors import DataRefused, InvalidRequest, ServerUnavailable
from scoreline.rows import cast, exchange
from scoreline.rows.columns import OutputColumns
from scoreline.rows.scores import nothing
from scoreline.serving import answers, bodies, query, tables
from scoreline.serving.callers import require_package
from scoreline.serving.documents import Package
from scoreline.serving.predictor import Predictor
from scoreline.serving.web import HttpError
from scoreline.types import Scores, ScoringPlan, TargetType

_SHOWN = 3
_LARGE = 8 << 20


async def predict(request: Request) -> Response:
    """Score rows in CSV or JSON; the answer is JSON, or CSV when `Accept` says so."""
    started = time.perf_counter()
    predictor: Predictor = request.app.state.predictor
    as_csv = _wants_csv(request.headers.get("accept", ""))
    caller = await predictor.callers.authenticate(request.headers.get("authorization"))
    package = await predictor.deployment(request.path_params["deployment_id"], caller)
    require_package(caller, package.package_id, listed=False)
    plan = _plan(package, query.read(request.query_params.multi_items()))
    async with predictor.admission():
        rows = await _rows(request, predictor, plan)
        scores, hit = await _score(request, predictor, package, rows)
        body = await asyncio.to_thread(_answer, plan, rows, scores, as_csv)
        large = rows.features.nbytes > _LARGE
        del rows
        if large:
            pa.default_memory_pool().release_unused()  # else one large request costs memory for good
    took = round(1000 * (time.perf_counter() - started))
    headers = {
        "X-DataRobot-Execution-Time": str(took),
        "X-DataRobot-Model-Cache-Hit": "true" if hit else "false",
        "X-Scoreline-Model": package.artifact,
        "Content-Type": "text/csv; charset=utf-8" if as_csv else "application/json",
    }
    return Response(body, headers=headers)


async def unstructured(request: Request) -> Response:
    """Refuse what no model here can do yet, to callers who may know that the address exists."""
    predictor: Predictor = request.app.state.predictor
    caller = await predictor.callers.authenticate(request.headers.get("authorization"))
    await predictor.deployment(request.path_params["deployment_id"], caller)
    raise InvalidRequest("Unstructured models are not supported yet; use the address that ends in predictions.")


@dataclass(frozen=True, slots=True)
class _Rows:
    """A request's rows: the source's text by column, the features, and the output columns."""

    source: dict[str, pa.Array]
    features: pa.RecordBatch
    count: int
    columns: OutputColumns


def _plan(package: Package, asked: query.Asked) -> ScoringPlan:
    if not package.active:
        raise InvalidRequest(f"Deployment {package.label!r} is inactive; activate it to get predictions.")
    plan = dataclasses.replace(package.plan, passthrough=asked.passthrough)
    if asked.warnings is None:
        return plan
    if asked.warnings and (plan.target_type is not TargetType.REGRESSION or package.boundaries is None):
        raise InvalidRequest(
            "predictionWarningEnabled is for regression models with boundaries: set customBoundaries in the "
            "deployment's predictionWarning setting, or give its model package a baseline.",
            "predictionWarningEnabled",
        )
    return dataclasses.replace(plan, outliers=package.boundaries if asked.warnings else None)


async def _rows(request: Request, predictor: Predictor, plan: ScoringPlan) -> _Rows:
    config = predictor.config
    media_type, name = request.headers.get("content-type", ""), ""
    body = await bodies.read(request, config.max_request, config.body_idle_seconds)
    if media_type.lower().startswith("multipart/form-data"):
        body, media_type, name = await bodies.form_file(body, media_type, config.max_request)
    return await asyncio.to_thread(_parse, plan, body, media_type, name)


def _parse(plan: ScoringPlan, body: bytes, media_type: str, name: str) -> _Rows:
    """Read and cast the rows. A bad cell refuses the request: nobody would look for a gap in a real-time answer."""
    source = tables.columns(body, media_type, name)
    count = len(next(iter(source.values())))
    if plan.passthrough != "all":
        absent = [column for column in plan.passthrough if column not in source]
        if absent:
            raise HttpError(400, f"Passthrough columns not found: {', '.join(absent)}")
    missing = cast.missing(list(source), plan.features)
    if missing:
        shown = ", ".join(map(repr, missing[:20]))
        raise DataRefused(f"The data lacks columns that the model needs: {shown}.")
    features, errors = cast.features(source, cast.inputs(list(source), plan.features))
    if errors:
        raise _bad_cells(errors)
    return _Rows(source, features, count, OutputColumns(plan, list(source)))


def _bad_cells(errors: dict[int, str]) -> DataRefused:
    rows = sorted(errors)
    shown = "; ".join(f"row {row} (counted from 0): {errors[row]}" for row in rows[:_SHOWN])
    more = f"; and {len(rows) - _SHOWN} more rows" if len(rows) > _SHOWN else ""
    return DataRefused(f"The data does not fit the model: {shown}{more}.", rows[0])


async def _score(request: Request, predictor: Predictor, package: Package, rows: _Rows) -> tuple[Scores, bool]:
    """Scores of all rows, and whether the model was loaded before; no rows are not worth a model."""
    if rows.count == 0:
        return nothing(package.plan), True
    with predictor.memory.take() as shared:
        shared.append(memoryview(await asyncio.to_thread(exchange.encode, rows.features)))
        body, hit = await predictor.score(request, package, shared)
    try:
        return exchange.decode_scores(body, [each.name for each in package.plan.extra]), hit
    except ValueError as error:
        raise ServerUnavailable(f"A model process answered what is not Arrow ({error}); try again.") from error


def _answer(plan: ScoringPlan, rows: _Rows, scores: Scores, as_csv: bool) -> bytes:
    if as_csv:
        return answers.csv_body(rows.columns, scores, rows.source)
    wanted = rows.columns.passthrough
    return answers.json_body(plan, scores, {name: rows.source[name] for name in wanted})


def _wants_csv(accept: str) -> bool:
    """Pick the form by `Accept`: the first one offered of those it names; JSON for `*/*` and nothing.

    Raises HttpError 406 when it allows neither.
    """
    offers = [part.strip().lower() for part in accept.split(",") if part.strip()]
    for offer in offers:
        kind, *parameters = (part.strip() for part in offer.split(";"))
        if any(parameter.replace(" ", "") in {"q=0", "q=0.0"} for parameter in parameters):
            continue
        if kind in {"application/json", "application/*", "*/*"}:
            return False
        if kind in {"text/csv", "text/*"}:
            return True
    if not offers:
        return False
    raise HttpError(406, "Accept allows neither application/json nor text/csv; those are the forms of an answer.")
