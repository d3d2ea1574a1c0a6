"""What it takes to ask servers outside of the installation: sealed keys, and how far addresses may lead."""

from __future__ import annotations

from dataclasses import dataclass

from scoreline.access.vault import Vault
from scoreline.network import Reach, networks
from scoreline.settings import Settings
from scoreline.store import Store


@dataclass(frozen=True, slots=True)
class Outside:
    """allowed: the networks that the installation opens for addresses that users name."""

    vault: Vault
    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, store: Store, settings: Settings) -> Outside:
        """Return an installation's. Raises SetupError for settings that cannot be read."""
        return cls(Vault(store, settings), networks(settings.allowed_networks))

    def reach(self, *, anywhere: bool) -> Reach:
        """Return how far an address leads; `anywhere` for one that an admin named."""
        return Reach(anywhere, self.allowed)
