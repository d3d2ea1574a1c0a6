"""The prediction server's contract as a machine reads it: its OpenAPI document."""

from __future__ import annotations

from scoreline import __version__
from scoreline.rows import exchange
from scoreline.serving import query
from scoreline.types import JsonObject

_ABOUT = """The DataRobot Prediction API, and what the workers of this installation ask. Addresses work with and without
the slash at their end, and are listed here once. `Authorization: Bearer <token>` and `Authorization: Token <token>`
mean the same; a header `datarobot-key` is taken and not needed."""
_REASONS = {
    400: "A passthrough column is not in the data.",
    401: "There is no token, or it is unknown, expired or revoked.",
    403: "The token does not cover the model, or lacks the right.",
    404: "There is no such deployment or model, or the caller may not see it.",
    406: "`Accept` allows neither JSON nor CSV.",
    408: "The body stopped coming.",
    413: "The body is too large: send the rows in several requests.",
    415: "The body's type or its compression is not known.",
    422: "The data, a parameter or the model is wrong.",
    500: "The server failed; its log has the cause.",
    502: "A model process died or gave no answer.",
    503: "There are too many requests at once, or the API does not answer: try again after `Retry-After`.",
}
_TEXT: JsonObject = {"type": "string"}
_NUMBER: JsonObject = {"type": ["number", "null"]}
_PREDICTION: JsonObject = {
    "description": "A number, a label, a list of labels, a text; null where there is none.",
    "anyOf": [{"type": ["number", "string", "null"]}, {"type": "array", "items": _TEXT}],
}
_RECORD: JsonObject = {
    "type": "object",
    "properties": {
        "rowId": {"type": "integer", "minimum": 0},
        "prediction": _PREDICTION,
        "predictionThreshold": {"type": "number"},
        "predictionValues": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"label": _TEXT, "value": {"type": ["number", "string", "null"]}, "threshold": _NUMBER},
                "required": ["label", "value"],
            },
        },
        "deploymentApprovalStatus": _TEXT,
        "isOutlierPrediction": {"type": ["boolean", "null"]},
        "extraModelOutput": {"type": "object"},
        "passthroughValues": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
    },
    "required": ["rowId", "prediction", "predictionValues", "deploymentApprovalStatus"],
}
_PREDICTIONS: JsonObject = {
    "type": "object",
    "properties": {"data": {"type": "array", "items": _RECORD}},
    "required": ["data"],
}
_PROBLEM: JsonObject = {
    "type": "object",
    "properties": {
        "message": _TEXT,
        "row": {"type": "integer", "description": "The row at fault, counted from 0."},
        "reason": {"const": "model", "description": "The model is at fault, not the rows."},
    },
    "required": ["message"],
}
_ROWS: JsonObject = {
    "text/csv": {"schema": {"type": "string", "description": "Comma-separated UTF-8 text with a header line."}},
    "text/plain": {"schema": _TEXT},
    "application/json": {
        "schema": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
        }
    },
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"file": {"type": "string", "format": "binary"}},
            "required": ["file"],
        }
    },
}
_BATCH: JsonObject = {exchange.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
_ANSWERED = {
    "X-DataRobot-Execution-Time": {"description": "Milliseconds.", "required": True, "schema": {"type": "integer"}},
    "X-DataRobot-Model-Cache-Hit": {"required": True, "schema": {"enum": ["true", "false"]}},
    "X-Scoreline-Model": {"description": "SHA-256 of the model.", "required": True, "schema": _TEXT},
}
_GZIP: JsonObject = {"name": "Content-Encoding", "in": "header", "schema": {"enum": ["identity", "gzip"]}}
_READING = (408, 413, 415, 422, 502, 503)


def document() -> JsonObject:
    """Return the OpenAPI document of all routes of the server."""
    inspected: JsonObject = {
        "type": "object",
        "properties": {"artifact": _TEXT, "trusted": {"type": "boolean"}, "sample": {"type": ["object", "null"]}},
        "required": ["artifact"],
    }
    answer: JsonObject = {"application/json": {"schema": {"type": "object"}}}
    inside = "for this installation"
    return {
        "openapi": "3.1.0",
        "info": {"title": "Scoreline prediction server", "version": __version__, "description": _ABOUT},
        "security": [{"bearer": []}, {"token": []}],
        "paths": {
            "/predApi/v1.0/deployments/{deployment_id}/predictions": {"post": _predict("predict")},
            "/api/v2/deployments/{deployment_id}/predictions": {"post": _predict("predictServerless")},
            "/predApi/v1.0/deployments/{deployment_id}/predictionsUnstructured": {"post": _refuse("predictRaw")},
            "/api/v2/deployments/{deployment_id}/predictionsUnstructured": {"post": _refuse("predictRawServerless")},
            "/scoreline/v1/packages/{package_id}/score": {
                "post": _operation("score", "Score one batch of rows.", inside, _READING, takes=_BATCH, gives=_BATCH)
            },
            "/scoreline/v1/inspect": {
                "post": _operation(
                    "inspect", "Say what an artefact is.", inside, _READING, takes=_json(inspected), gives=answer
                )
            },
            "/ping": {"get": _open("ping", "Say that the server answers.")},
            "/openapi.json": {"get": _open("openapiDocument", "Return this document.")},
        },
        "components": {
            "schemas": {"Problem": _PROBLEM, "Predictions": _PREDICTIONS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "token": {"type": "apiKey", "in": "header", "name": "Authorization"},
            },
        },
    }


def _predict(name: str) -> JsonObject:
    forms: JsonObject = {
        "application/json": {"schema": {"$ref": "#/components/schemas/Predictions"}},
        "text/csv": {"schema": {"type": "string", "description": "As the output of a batch job."}},
    }
    text = "Score rows in CSV or JSON; the answer is JSON, or CSV when `Accept` says so."
    found = _operation(name, text, "predictions", (400, 406, *_READING), takes=_ROWS, gives=forms)
    found["responses"]["200"]["headers"] |= _ANSWERED
    found["parameters"] += [
        {
            "name": "passthroughColumns",
            "in": "query",
            "description": "Columns to copy to the answer; given several times for several.",
            "schema": {"type": "array", "items": _TEXT},
        },
        {"name": "passthroughColumnsSet", "in": "query", "schema": {"const": "all"}},
        {
            "name": "predictionWarningEnabled",
            "in": "query",
            "description": "Mark outliers, or do not; without it, the deployment's setting decides.",
            "schema": {"enum": [value for value in query.FLAGS if value]},
        },
        *(
            {
                "name": parameter,
                "in": "query",
                "description": "Not built yet: only what asks for nothing is taken.",
                "schema": {"enum": list(values)},
            }
            for parameter, values in query.NOTHING.items()
            if values
        ),
        _GZIP,
    ]
    return found


def _refuse(name: str) -> JsonObject:
    anything: JsonObject = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    text = "Refuse what is for unstructured models, which are not built yet."
    found = _operation(name, text, "predictions", (422, 502, 503), takes=anything, gives={})
    del found["responses"]["200"]
    return found


def _operation(
    name: str, text: str, tag: str, refuses: tuple[int, ...], *, takes: JsonObject, gives: JsonObject
) -> JsonObject:
    statuses = sorted({401, 403, 404, 500, *refuses})
    return {
        "operationId": name,
        "description": text,
        "tags": [tag],
        "parameters": [_PATHS[name]] if name in _PATHS else [],
        "requestBody": {"required": True, "content": takes},
        "responses": {
            "200": {"description": "OK", "content": gives, "headers": dict(_HEADERS)},
            **{str(status): _refusal(status) for status in statuses},
        },
    }


def _open(name: str, text: str) -> JsonObject:
    return {
        "operationId": name,
        "description": text,
        "tags": ["server"],
        "security": [],
        "responses": {
            "200": {"description": "OK", "content": _json({"type": "object"}), "headers": dict(_HEADERS)},
        },
    }


def _refusal(status: int) -> JsonObject:
    headers = dict(_HEADERS)
    if status == 503:
        headers["Retry-After"] = {"required": True, "schema": {"type": "integer", "minimum": 1}}
    if status == 401:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"const": "Bearer"}}
    return {
        "description": _REASONS[status],
        "content": _json({"$ref": "#/components/schemas/Problem"}),
        "headers": headers,
    }


def _json(schema: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema}}


_HEADERS: JsonObject = {"X-Request-Id": {"required": True, "schema": _TEXT}}
_DEPLOYMENT: JsonObject = {"name": "deployment_id", "in": "path", "required": True, "schema": _TEXT}
_PATHS: dict[str, JsonObject] = {
    **dict.fromkeys(("predict", "predictServerless", "predictRaw", "predictRawServerless"), _DEPLOYMENT),
    "score": {**_DEPLOYMENT, "name": "package_id"},
}
