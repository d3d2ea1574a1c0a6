"""Run a ticket in this process: open all that it names, run the pipeline, leave the target as it should be left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress

from scoreline import adapters, pipeline, redact, scorers, urls
from scoreline.credentials import NO_KEYS, RunKeys
from scoreline.engines import memory
from scoreline.engines.pin import PinnedScorer
from scoreline.errors import LostLease, ScorelineError, ShuttingDown, SpoolAway, SpoolFull, StoreError
from scoreline.protocols import Intake, Ledger, Output, Partitions, Progress, Queue, Scorer
from scoreline.spool import open_spool
from scoreline.types import Counts, Flush, JsonObject, RunTicket

# After these the run goes on elsewhere, or later: what it has written so far is still wanted. A spool that does not
# answer has been waited for long enough: what is there is removed later, as that of a worker that died.
_GOES_ON = (LostLease, ShuttingDown, StoreError, SpoolFull, SpoolAway)


def run_ticket(
    ticket: RunTicket,
    ledger: Ledger,
    progress: Progress,
    keys: RunKeys = NO_KEYS,
    partitions: Partitions | None = None,
    *,
    scorer: Scorer | None = None,
) -> pipeline.Summary:
    """Run a job to its commit, or leave nothing of it behind.

    partitions: the parts of its source that other runs may score ahead (`run_ahead`).

    `keys` opens stored credentials; who gives it hides what it opens from every text. `scorer` is used instead of the
    one that the ticket names, for models in this process. Raises what `pipeline.run` raises, and what opening the parts
    raises. After LostLease, ShuttingDown, StoreError, SpoolFull and SpoolAway the output stays as it is, for the run
    that goes on, or to be removed later; after any other end it is removed, if the ledger leaves that to the run.
    """
    memory.settle()
    with ExitStack() as stack:
        stack.enter_context(redact.hiding(secrets_of(ticket)))
        spool = open_spool(ticket.spool)
        with _ends_with(progress):
            output = adapters.open_output(ticket, spool, keys.output)
        stack.callback(output.close)
        errors = adapters.open_errors(ticket, spool)
        if errors is not None:
            stack.callback(errors.close)
        try:
            with _ends_with(progress):
                used = scorer or scorers.open_scorer(ticket.server, ticket.plan)
                stack.callback(used.close)
                intake = adapters.open_intake(ticket, spool, keys.intake)
                stack.callback(intake.close)
                pinned = PinnedScorer(used, ledger, ticket.package_hash if ticket.server.kind == scorers.OWN else None)
                stage = pipeline.Stage(spool, ticket.job_id)
                shared = None if partitions is None else pipeline.Shared(partitions, stage)
                return pipeline.run(ticket, intake, pinned, output, ledger, progress, errors=errors, shared=shared)
        except _GOES_ON:
            raise
        except BaseException:
            _remove(output, ledger)
            if errors is not None:
                with suppress(ScorelineError, OSError):
                    errors.abort(errors.prepare())
            raise


def run_ahead(ticket: RunTicket, queue: Queue, progress: Progress, keys: RunKeys = NO_KEYS) -> None:
    """Score parts of a job whose output another run writes; see `pipeline.run_ahead`."""
    memory.settle()
    with ExitStack() as stack:
        stack.enter_context(redact.hiding(secrets_of(ticket)))
        spool = open_spool(ticket.spool)
        used = scorers.open_scorer(ticket.server, ticket.plan)
        stack.callback(used.close)
        stack.enter_context(_ends_with(progress))
        intake = adapters.open_intake(ticket, spool, keys.intake)
        stack.callback(intake.close)
        pinned = PinnedScorer(used, queue, ticket.package_hash if ticket.server.kind == scorers.OWN else None)
        stage = pipeline.Stage(spool, ticket.job_id)
        pipeline.run_ahead(ticket, intake, pinned, queue, progress, stage=stage)


def secrets_of(ticket: RunTicket) -> Iterator[str]:
    """Yield what no text about a run may show."""
    yield ticket.server.token
    yield ticket.server.datarobot_key
    yield (ticket.output.get("serverSideEncryption") or {}).get("customerKey") or ""
    for settings in (ticket.intake, ticket.output):
        if settings.get("type") == urls.HTTP:
            yield from urls.hidden(str(settings[urls.URL]), settings.get(urls.HEADERS))


def preview_ticket(
    ticket: RunTicket,
    check: Callable[[], None],
    keys: RunKeys = NO_KEYS,
    *,
    scorer: Scorer | None = None,
    intake: Intake | None = None,
) -> pipeline.Preview:
    """Look at what a run would find, and write nothing; see `pipeline.preview`.

    `scorer` as for `run_ticket`; `intake` is used instead of the one that the ticket names.
    """
    with ExitStack() as stack:
        stack.enter_context(redact.hiding(secrets_of(ticket)))
        used = scorer or scorers.open_scorer(ticket.server, ticket.plan)
        stack.callback(used.close)
        source = intake or adapters.open_intake(ticket, open_spool(ticket.spool), keys.intake)
        stack.callback(source.close)
        return pipeline.preview(ticket, source, used, check)


class MemoryLedger:
    """The record of a run that is not to outlive its process."""

    def __init__(self) -> None:
        self._state: JsonObject | None = None
        self._flushes: list[Flush] = []
        self._model: str | None = None
        self._source: JsonObject | None = None

    def output_state(self) -> JsonObject | None:
        """Return what `begin` was given."""
        return self._state

    def left(self) -> JsonObject | None:
        """Return what `begin` was given: nobody else knows of it."""
        return self._state

    def begin(self, state: JsonObject) -> None:
        """Keep the output's state."""
        self._state = state

    def flushes(self) -> Sequence[Flush]:
        """Return all flushes so far."""
        return tuple(self._flushes)

    def record(self, flush: Flush) -> None:
        """Keep one more flush."""
        self._flushes.append(flush)

    def check(self) -> None:
        """Nobody stops a run here."""

    def seal(self, counts: Counts, bytes_out: int) -> None:
        """Nobody can abort it, and there is no second count."""

    def pin_source(self, identity: JsonObject) -> JsonObject:
        """Keep the first source."""
        self._source = self._source or identity
        return self._source

    def pin_model(self, model: str) -> str:
        """Keep the first model."""
        self._model = self._model or model
        return self._model


def _ends_with(progress: Progress) -> AbstractContextManager[None]:
    """Let what waits for a source or a target in the block end once the run is to end."""
    return adapters.stopped_by(lambda: pipeline.check_stop(progress))


def _remove(output: Output, ledger: Ledger) -> None:
    # The reason why the run ended matters more than a target that cannot be cleaned now.
    with suppress(ScorelineError, OSError):
        state = ledger.left()
        if state is not None:
            output.abort(state)
