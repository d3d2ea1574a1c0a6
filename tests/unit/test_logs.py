import io
import json
import logging

import pytest
import structlog

from scoreline import logs
from scoreline.errors import SetupError
from scoreline.settings import Settings


@pytest.fixture(autouse=True)
def own_log():
    root = logging.getLogger()
    handlers, level, config = root.handlers, root.level, structlog.get_config()
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.configure(**config)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_events_and_plain_log_lines_become_json():
    out = io.StringIO()
    logs.configure(Settings(), "worker", out)
    structlog.get_logger("a").info("run begins", job_id="j1")
    logging.getLogger("b").warning("%s of %s", 1, 2)
    logging.getLogger("b").debug("not shown")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["event"], first["job_id"], first["process"], first["level"]) == ("run begins", "j1", "worker", "info")
    assert (second["event"], second["level"], second["process"]) == ("1 of 2", "warning", "worker")
    assert first["timestamp"].endswith("Z")


def test_tracebacks_show_no_local_variables():
    for out in (io.StringIO(), Terminal()):
        logs.configure(Settings(), "worker", out)
        secret = "scl_" + "x" * 40
        try:
            int(f"{len(secret)} bytes")
        except ValueError:
            structlog.get_logger("a").exception("run failed")
        assert "ValueError: invalid literal for int() with base 10: '44 bytes'" in out.getvalue()
        assert secret not in out.getvalue()


def test_at_a_terminal_lines_are_for_people():
    out = Terminal()
    logs.configure(Settings(), "worker", out)
    structlog.get_logger("a").info("run begins", job_id="j1")
    assert not out.getvalue().startswith("{")
    assert "run begins" in out.getvalue()


def test_the_level_is_a_setting():
    out = io.StringIO()
    logs.configure(Settings(log_level="error"), "worker", out)
    structlog.get_logger("a").warning("not shown")
    assert out.getvalue() == ""
    with pytest.raises(SetupError, match="SCORELINE_LOG_LEVEL"):
        logs.configure(Settings(log_level="loud"), "worker", out)
