"""Where the partitions of a job run: today in the worker's own process."""

from scoreline.engines.local import MemoryLedger, run_ticket

__all__ = ["MemoryLedger", "run_ticket"]
