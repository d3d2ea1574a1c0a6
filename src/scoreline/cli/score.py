"""`scoreline score`: a CSV file in, the same rows with predictions out; by a server, or with no server at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from scoreline.cli import model_options, options
from scoreline.cli.score_words import ScoreWords

_OUTPUT = "What the output holds"
_CSV = "CSV and pace"


def score(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A CSV file with a header line, plain or packed with gzip or zstd; - is standard input.",
        ),
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="The file to write; - is standard output.")],
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
    target: model_options.Target = None,
    target_type: model_options.TargetKind = None,
    positive_class: model_options.PositiveClass = None,
    class_labels: model_options.ClassLabels = None,
    label_threshold: model_options.LabelThresholds = None,
    feature_type: model_options.FeatureTypes = None,
    trust: model_options.Trust = False,
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
    if errors is not None and Path(errors).absolute() == Path(output).absolute():
        raise typer.BadParameter("Give --errors another file than --output.")
    if model is not None:
        _one_thread_a_call()
        options.tell_models(options.settings())
        from scoreline.cli import local  # noqa: PLC0415 -- start-up time of the other commands

        result = local.score(model, about, words, source, output, errors=errors, trusted=trust, quiet=quiet or json)
    else:
        from scoreline.cli import remote  # noqa: PLC0415 -- start-up time of the other commands
        from scoreline.cli.client import Api  # noqa: PLC0415 -- as above

        with Api(url, token) as api:
            result = remote.score(api, deployment or "", words, source, output, errors=errors, quiet=quiet or json)
    if json:
        from scoreline.cli.output import show_json  # noqa: PLC0415 -- start-up time of the other commands

        show_json(result)


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
