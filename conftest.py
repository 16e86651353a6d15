"""How every test runs: what Hypothesis makes up is judged by what comes of it, never by how long it took."""

import signal

import structlog
from hypothesis import HealthCheck, settings

settings.register_profile(
    "unhurried",
    settings(),
    deadline=None,
    suppress_health_check=[*settings().suppress_health_check, HealthCheck.too_slow],
)
settings.load_profile("unhurried")

# As services log: structlog's own way draws every local variable of a traceback, which costs a test seconds per death.
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# A script's background job ignores Ctrl-C, and so would every program that a test starts, and ends that way.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
