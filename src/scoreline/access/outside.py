"""What it takes to ask servers outside of the installation: sealed keys, and how far addresses may lead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from scoreline.access.vault import Vault
from scoreline.network import Reach, networks
from scoreline.settings import Settings
from scoreline.store import Store

_POSTGRES_PORT = 5432


@dataclass(frozen=True, slots=True)
class Outside:
    """allowed: what the installation opens for addresses that users name. own: places of its own parts."""

    vault: Vault
    allowed: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @classmethod
    def of(cls, store: Store, settings: Settings) -> Outside:
        """Return an installation's. Raises SetupError for settings that cannot be read."""
        return cls(Vault(store, settings), networks(settings.allowed_networks), tuple(_own(settings)))

    def reach(self, *, anywhere: bool, own: Iterable[str] = (), known: Iterable[str] = ()) -> Reach:
        """Return how far an address leads; `anywhere` for one that an admin named. own, known: see `Reach`."""
        return Reach(anywhere, self.allowed, (*self.own, *own), tuple(known))


def _own(settings: Settings) -> Iterator[str]:
    """Yield the places that are known from the settings; a port that was taken freely is not among them."""
    database = urlsplit(settings.store_url)
    for host, port in (
        (settings.host, settings.port),
        (settings.predictor_host, settings.predictor_port),
        (database.hostname, database.port or _POSTGRES_PORT),
    ):
        if host and port:
            yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
