"""`scoreline score`: a CSV file in, the same rows with predictions out; by a server, or with no server at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from scoreline.cli import model_options, options
from scoreline.cli.places import Place
from scoreline.cli.score_words import STREAM, ScoreWords
from scoreline.types import JsonObject

_OUTPUT = "What the output holds"
_CSV = "CSV and pace"
_STORES = "Object stores and web servers"


def score(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A CSV file with a header line, plain or packed with gzip or zstd; - is standard input. Or the URL of "
            "an object: s3://, gs://, abfss://, https://ACCOUNT.blob.core.windows.net/. Or any https:// address. Or "
            "dataset://NAME_OR_ID.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="The file to write; - is standard output. Or a URL, as for INPUT, of no dataset."
        ),
    ] = None,
    deployment: Annotated[
        str | None, typer.Option("--deployment", metavar="ID_OR_NAME", help="Score with this deployment of a server.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="PATH", help="Score with this model file or folder, without a server."),
    ] = None,
    passthrough: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns of the input to carry over.", rich_help_panel=_OUTPUT),
    ] = None,
    passthrough_all: Annotated[
        bool, typer.Option("--passthrough-all", help="Carry all columns over.", rich_help_panel=_OUTPUT)
    ] = False,
    include_status: Annotated[
        bool, typer.Option("--include-status", help="Add the column prediction_status.", rich_help_panel=_OUTPUT)
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Prediction threshold of a binary target.", rich_help_panel=_OUTPUT),
    ] = None,
    no_probabilities: Annotated[
        bool, typer.Option("--no-probabilities", help="Leave the class probabilities out.", rich_help_panel=_OUTPUT)
    ] = False,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Probabilities of these classes only.", rich_help_panel=_OUTPUT),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="Rename an output column. May be given again.", rich_help_panel=_OUTPUT),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Leave an output column out. May be given again.", rich_help_panel=_OUTPUT),
    ] = None,
    chunk_size: Annotated[
        str | None, typer.Option(help="auto, fixed, dynamic or a number of bytes.", rich_help_panel=_CSV)
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Chunks scored at once. [default: one a core]", rich_help_panel=_CSV),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="One character, or tab. [default: ,]", rich_help_panel=_CSV)
    ] = None,
    quotechar: Annotated[str | None, typer.Option(help='One character. [default: "]', rich_help_panel=_CSV)] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Any text encoding of Python. [default: utf-8]", rich_help_panel=_CSV)
    ] = None,
    no_abort_on_error: Annotated[
        bool,
        typer.Option("--no-abort-on-error", help="Go on, however many rows cannot be scored.", rich_help_panel=_CSV),
    ] = False,
    errors: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="List the rows that failed here, with the reasons.", rich_help_panel=_OUTPUT),
    ] = None,
    input_credential: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Stored credential that may read the input.", rich_help_panel=_STORES),
    ] = None,
    output_credential: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Stored credential that may write the output.", rich_help_panel=_STORES),
    ] = None,
    input_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Store that the input is in.", rich_help_panel=_STORES)
    ] = None,
    output_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Store that the output goes to.", rich_help_panel=_STORES)
    ] = None,
    input_header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:VALUE", help="Header for the web server of the input.", rich_help_panel=_STORES),
    ] = None,
    output_header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:VALUE", help="Header for the web server of the output.", rich_help_panel=_STORES),
    ] = None,
    output_method: Annotated[
        str, typer.Option(metavar="PUT|POST", help="How a web server is sent the output.", rich_help_panel=_STORES)
    ] = "PUT",
    target: model_options.Target = None,
    target_type: model_options.TargetKind = None,
    positive_class: model_options.PositiveClass = None,
    class_labels: model_options.ClassLabels = None,
    label_threshold: model_options.LabelThresholds = None,
    feature_type: model_options.FeatureTypes = None,
    trust: model_options.Trust = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Only tell what scoring would do, by the first rows; nothing is written."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    json: options.Json = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.ApiToken = None,
) -> None:
    """Score a CSV file: with a deployment of a running server, or with a model file and no server at all."""
    words = ScoreWords(
        passthrough=passthrough,
        passthrough_all=passthrough_all,
        include_status=include_status,
        threshold=threshold,
        probabilities=not no_probabilities,
        classes=classes,
        rename=rename or [],
        drop=drop or [],
        chunk_size=chunk_size,
        concurrency=concurrency,
        delimiter=delimiter,
        quotechar=quotechar,
        encoding=encoding,
        abort_on_error=not no_abort_on_error,
    )
    about = model_options.ModelWords(
        target, target_type, positive_class, class_labels, None, feature_type, label_threshold
    )
    _check_together(deployment, model, about, trust=trust, words=words)
    if output is None and not plan:
        raise typer.BadParameter("Give the file to write with -o, or --plan to see what would be written.")
    begin = Place(source, input_credential, input_endpoint, tuple(input_header or ()))
    end = Place(
        output or STREAM, output_credential, output_endpoint, tuple(output_header or ()), output_method, written=True
    )
    if errors is not None and Path(errors).absolute() == Path(end.text).absolute():
        raise typer.BadParameter("Give --errors another file than --output.")
    if model is not None:
        _one_thread_a_call()
        options.tell_models(options.settings())
        from scoreline.cli import local  # noqa: PLC0415 -- start-up time of the other commands

        if plan:
            _show_plan(local.plan(model, about, words, begin, end, trusted=trust), json=json)
        result = local.score(model, about, words, begin, end, errors=errors, trusted=trust, quiet=quiet or json)
    else:
        from scoreline.cli import plan as plans  # noqa: PLC0415 -- start-up time of the other commands
        from scoreline.cli import remote  # noqa: PLC0415 -- start-up time of the other commands
        from scoreline.cli.client import Api  # noqa: PLC0415 -- as above

        with Api(url, token) as api:
            if plan:
                _show_plan(plans.ask(api, deployment or "", words, begin, end), json=json)
            result = remote.score(api, deployment or "", words, begin, end, errors=errors, quiet=quiet or json)
    if json:
        from scoreline.cli.output import show_json  # noqa: PLC0415 -- start-up time of the other commands

        show_json(result)


def _show_plan(document: JsonObject, *, json: bool) -> NoReturn:
    """Show a plan, and end the command: with 1 when there are problems."""
    from scoreline.cli import plan  # noqa: PLC0415 -- start-up time of the other commands
    from scoreline.cli.output import show_json  # noqa: PLC0415 -- as above

    if json:
        show_json(document)
    else:
        plan.show(document)
    raise typer.Exit(0 if document["ready"] else 1)


def _one_thread_a_call() -> None:
    """Keep numeric libraries from threads of their own: chunks are scored side by side already.

    They read these variables when they are loaded, so this comes before.
    """
    for library in ("OMP", "OPENBLAS", "MKL", "BLIS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    os.environ.setdefault("VECLIB_MAXIMUM_THREADS", "1")


def _check_together(
    deployment: str | None, model: Path | None, about: model_options.ModelWords, *, trust: bool, words: ScoreWords
) -> None:
    """Refuse options that contradict each other, before anything is opened."""
    if (deployment is None) == (model is None):
        raise typer.BadParameter("Give either --deployment (of a server) or --model (a file or folder).")
    if model is None and (about != model_options.ModelWords() or trust):
        raise typer.BadParameter(
            "What the model is was said when it was deployed: use these options with --model only."
        )
    if words.passthrough is not None and words.passthrough_all:
        raise typer.BadParameter("Give either --passthrough or --passthrough-all.")
    words.document()
