"""Formats that settings of models may be in, beyond what a JSON Schema can say: what cannot be read is refused."""

import jmespath
from jmespath.parser import Parser
from jsonschema import FormatChecker
from prelabel_runtime.egress_policy import Forbidden, read_url

FORMATS = FormatChecker(formats=())
"""By their names in schemas; a format that nobody here knows is not checked."""
_MAX_EXPRESSION = 8000
"""Characters of an expression; one that is longer is not even read."""


class FormatError(ValueError):
    """It cannot be read; the message says where."""


@FORMATS.checks("jmespath", raises=FormatError)
def _is_jmespath(value: object) -> bool:
    if isinstance(value, str):
        if len(value) > _MAX_EXPRESSION:
            raise FormatError(f"longer than {_MAX_EXPRESSION} characters")
        try:
            jmespath.compile(value)
        except (ValueError, RecursionError) as error:  # its own errors are ValueErrors, and so is a number without end
            said = " ".join(str(error).split()) or type(error).__name__
            raise FormatError(f"no JMESPath: {said[:160]}") from None
        finally:
            Parser.purge()  # it keeps hundreds, and a large one takes megabytes
    return True


@FORMATS.checks("http-url", raises=FormatError)
def _is_http_url(value: object) -> bool:
    """That it could be called; whether it may be, only who calls it knows."""
    if isinstance(value, str):
        try:
            read_url(value)
        except Forbidden as error:
            raise FormatError(error.detail) from None
    return True
