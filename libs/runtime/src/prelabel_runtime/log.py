"""Structured logs: one JSON object per line on standard error.

The message is a constant; what varies goes into fields (event, task and run ids, counts). Payloads and secrets are
never logged: fields are short scalars, anything longer is cut, and what looks like a secret is hidden, also within
the text of an error.
"""

import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog

from .redaction import Redaction

MAX_FIELD = 300
"""Characters of a field that are kept."""


def configure(level: str = "info", *, pretty: bool = False, hidden: Iterable[str] = ()) -> None:
    """Set up logging for this process: its own lines and those of the libraries, in one form.

    `hidden` are secrets that are never written, beside all that has the name or the form of one.
    """
    redact = Redaction(hidden)
    # Tracebacks without local variables: those hold payloads and secrets.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer: Any = plain if pretty else structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
        _short,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact.errors,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in (
        "aiokafka",
        "faststream",
        "uvicorn",
        "uvicorn.error",
        "uvicorn.access",
        "asyncio",
        "pymongo",
        "httpx",
    ):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
        logging.getLogger(chatty).handlers = []
        logging.getLogger(chatty).propagate = True


def get(name: str) -> Any:
    """A logger: `log.info("constant message", field=value)`."""
    return structlog.stdlib.get_logger(name)


def _short(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) and len(value) > MAX_FIELD and key != "exception":
            event[key] = value[:MAX_FIELD] + "…"
    return event
