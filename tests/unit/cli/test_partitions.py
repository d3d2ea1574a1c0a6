"""What `scoreline jobs show` says of a job that several workers share."""

from scoreline.cli.jobs import _partitions


def test_it_tells_how_far_the_parts_are_and_who_scores_which():
    states = ["taken", "taken", "ahead", "scored", "ahead", "open"]
    parts = [{"partition": n, "state": state, "worker": f"w{n}", "rows": None} for n, state in enumerate(states)]
    assert _partitions(parts) == ("6: 2 begun or written, 1 scored before their turn, being scored: 2 by w2, 4 by w4")
    assert _partitions(parts[:2]) == "2: 2 begun or written"
