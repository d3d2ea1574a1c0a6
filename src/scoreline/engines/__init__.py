"""Where the partitions of a job run: today in the worker's own process."""

from scoreline.engines.local import MemoryLedger, preview_ticket, run_ahead, run_ticket

__all__ = ["MemoryLedger", "preview_ticket", "run_ahead", "run_ticket"]
