"""http: a file that is read from a URL, and a request that takes the rows to one."""

from __future__ import annotations

import math

from scoreline.adapters.webcalls import Caller
from scoreline.adapters.webkept import KeptUrl
from scoreline.adapters.webread import UrlFiles, UrlIntake, WebFile
from scoreline.adapters.websend import UrlOutput
from scoreline.credentials import Keys
from scoreline.spool import Spool
from scoreline.types import RunTicket

_KEY = "file"
_TRIES = 3  # within the time that a server may be away
_QUICK_SECONDS = 30.0  # what can send parts of a file need not make it first


def open_files(ticket: RunTicket, keys: Keys) -> tuple[UrlFiles, str]:
    """Return the file of the ticket's intake as a place of its own, and its key there. Raises what `keys` raises."""
    return UrlFiles(_file(ticket, keys, _QUICK_SECONDS)), _KEY


def open_intake(ticket: RunTicket, spool: Spool, keys: Keys) -> UrlIntake | KeptUrl:
    """Open the URL of the ticket's intake. Raises what `keys` raises."""
    url = UrlIntake(_file(ticket, keys))
    return KeptUrl(url, ticket, spool) if ticket.goes_on else url


def open_output(ticket: RunTicket, spool: Spool, keys: Keys) -> UrlOutput:
    """Open the URL of the ticket's output. Raises what `keys` raises."""
    caller = Caller(ticket, ticket.output, keys, "Output", silent=ticket.limits.patience_seconds)
    return UrlOutput(caller, ticket, spool)


def _file(ticket: RunTicket, keys: Keys, most: float = math.inf) -> WebFile:
    silent = min(most, ticket.limits.patience_seconds / _TRIES)
    return WebFile(Caller(ticket, ticket.intake, keys, "Intake", silent=silent))
