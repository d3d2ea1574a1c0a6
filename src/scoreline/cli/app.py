"""The program: its commands, and what becomes of an error."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from scoreline import __version__
from scoreline.cli import (
    admin,
    apply,
    credentials,
    datasets,
    definitions,
    deploy,
    deployments,
    jobs,
    parts,
    score,
    secrets,
    serve,
)
from scoreline.cli.output import show_error
from scoreline.errors import ScorelineError, one_line

INTERRUPTED = 130

app = typer.Typer(
    name="scoreline",
    help="Score big tables with models that are already deployed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve", rich_help_panel="Server")(serve.serve)
app.command("api", rich_help_panel="Server")(parts.api)
app.command("worker", rich_help_panel="Server")(parts.worker)
app.command("predictor", rich_help_panel="Server")(parts.predictor)
app.command("deploy", rich_help_panel="Models and scoring")(deploy.deploy)
app.command("score", rich_help_panel="Models and scoring")(score.score)
app.add_typer(deployments.app, name="deployments", rich_help_panel="Models and scoring")
app.add_typer(jobs.app, name="jobs", rich_help_panel="Models and scoring")
app.add_typer(definitions.app, name="definitions", rich_help_panel="Models and scoring")
app.command("apply", rich_help_panel="Models and scoring")(apply.apply)
app.add_typer(datasets.app, name="datasets", rich_help_panel="Models and scoring")
app.add_typer(credentials.app, name="credentials", rich_help_panel="Models and scoring")
app.add_typer(admin.tokens_app, name="token", rich_help_panel="Administration")
app.add_typer(admin.users_app, name="user", rich_help_panel="Administration")
app.add_typer(secrets.app, name="secrets", rich_help_panel="Administration")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scoreline {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code. Every error becomes one sentence on standard error and code 1."""
    try:
        app(args=arguments, prog_name="scoreline", standalone_mode=True)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except ScorelineError as error:
        show_error(error.message)
        return 1
    except KeyboardInterrupt:
        show_error("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): not an error, and nothing more can be said on that pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        show_error(one_line(f"{error.strerror or error}: {error.filename}" if error.filename else str(error)))
        return 1
    return 0
