from __future__ import annotations

from pathlib import Path

from scoreline.models.environment import child_environment


def test_only_the_allowed_part_is_handed_on(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    surroundings = {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "LC_ALL": "C",
        "PYTHONPATH": "src:/lib",
        "HOME": "/root",
        "OMP_NUM_THREADS": "8",
        "SCORELINE_ADMIN_TOKEN": "s",
        "SCORELINE_DATABASE_URL": "s",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PGPASSWORD": "s",
    }
    made = child_environment(surroundings, Path("/cache/home"))
    assert "s" not in made.values()
    assert made["PATH"] == "/bin"
    assert made["LC_ALL"] == "C"
    assert made["PYTHONPATH"] == f"{tmp_path}/src:/lib"
    assert made["HOME"] == "/cache/home"
    assert made["OMP_NUM_THREADS"] == made["OPENBLAS_NUM_THREADS"] == "1"
