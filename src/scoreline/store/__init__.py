"""The database: transactions, tables, migrations. It stores; what the rows mean is decided above."""

from scoreline.store.engine import Store
from scoreline.store.values import new_id, now

__all__ = ["Store", "new_id", "now"]
