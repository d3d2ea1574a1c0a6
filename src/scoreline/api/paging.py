"""Pages of lists: `offset` and `limit` in, absolute links to the neighbouring pages out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from starlette.requests import Request

from scoreline.api.urls import Links
from scoreline.api.wire.answers import Page
from scoreline.api.wire.base import Paging

T = TypeVar("T")


def page(request: Request, query: Paging, items: Sequence[T], total: int) -> Page[T]:
    """Return a page's document; the links repeat the request's filters."""
    beyond = query.offset + query.limit
    following = _link(request, query, beyond) if beyond < total else None
    previous = _link(request, query, max(0, query.offset - query.limit)) if query.offset > 0 else None
    return {
        "count": len(items),
        "totalCount": total,
        "next": following,
        "previous": previous,
        "data": list(items),
    }


def page_out_of(request: Request, query: Paging, items: Sequence[T]) -> Page[T]:
    """Return the page of a list that is at hand as a whole."""
    return page(request, query, items[query.offset : query.offset + query.limit], len(items))


def _link(request: Request, query: Paging, offset: int) -> str:
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] not in ("offset", "limit")]
    pairs += [("offset", str(offset)), ("limit", str(query.limit))]
    return Links(request).with_query(request.url.path, pairs)
