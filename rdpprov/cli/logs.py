"""Logs: lines for people on a terminal, JSON lines for everything else, both on stderr. Never a secret in them."""

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LogLevel = Literal["debug", "info", "warning", "error"]

SECRETS = frozenset({"password", "secret", "verifier", "challenge", "nt_hash", "key_material", "credential"})
"""Keys of log events that are never written out, should anybody log them. Structures hide their own secrets."""


def configure_logging(level: LogLevel, stream: TextIO | None = None) -> None:
    """Send this process's logs to `stream` (default: stderr), from `level` on."""
    stream = sys.stderr if stream is None else stream
    form: list[Processor]
    if stream.isatty():
        # The plain formatter: the rich one prints local variables, and with them what nobody may read.
        form = [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    else:
        form = [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, redact, *form],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Overwrite the values of keys that name secrets."""
    for key in SECRETS & event.keys():
        event[key] = "<redacted>"
    return event
