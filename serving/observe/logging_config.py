"""How the reader's processes log: JSON lines to stderr. Other hosts, and tests, keep their own logging.

It stands alone, so that the process that only starts the others imports neither Flask nor the metrics.
"""

from __future__ import annotations

from typing import Any

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.msgspec.MsgspecFormatter", "format": "{levelname}{name}{message}", "style": "{",
            "timestamp": "time", "rename_fields": {"levelname": "level"},
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {
        "_granian": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
        "cassandra": {"level": "ERROR"},  # it warns of each lost connection; /readyz says it once
    },
}  # fmt: skip
