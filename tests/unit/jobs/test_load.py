from __future__ import annotations

from scoreline.jobs import lease, load


def test_running_and_waiting_jobs_are_counted_by_server(world):
    first, second = world.server(slots=1), world.server(slots=1)
    for _ in range(3):
        world.job(server_id=first)
    world.job(server_id=second, queued=False)  # waits for data, not in line
    assert lease.claim(world.store, first, "worker") is not None
    assert load.by_server(world.store) == {first: (1, 2)}
    world.job(server_id=second)
    assert load.by_server(world.store) == {first: (1, 2), second: (0, 1)}
