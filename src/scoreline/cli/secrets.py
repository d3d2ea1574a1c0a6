"""`scoreline secrets`: what protects the keys that an installation stores."""

from __future__ import annotations

import typer

from scoreline.cli import options
from scoreline.cli.output import show_json, show_note

app = typer.Typer(help="Look after the master key that stored secrets are sealed with.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command("rotate")
def rotate(
    json: options.Json = False, data_dir: options.DataDir = None, database_url: options.DatabaseUrl = None
) -> None:
    """Seal all stored secrets with a new master key. Servers may run; broken off, it goes on when repeated."""
    from scoreline.access.vault import Vault  # noqa: PLC0415 -- start-up time
    from scoreline.store import Store  # noqa: PLC0415 -- as above

    settings = options.settings(data_dir=data_dir, database_url=database_url)
    store = Store(settings.store_url)
    try:
        store.migrate()
        count = Vault(store, settings).rotate()
    finally:
        store.dispose()
    if json:
        show_json({"resealed": count})
    else:
        show_note(f"Secrets sealed anew: {count}.")
