"""Formats that settings of models may be in, beyond what a JSON Schema can say: what cannot be read is refused."""

import jmespath
from jsonschema import FormatChecker

FORMATS = FormatChecker(formats=())
"""By their names in schemas; a format that nobody here knows is not checked."""


class FormatError(ValueError):
    """It cannot be read; the message says where."""


@FORMATS.checks("jmespath", raises=FormatError)
def _is_jmespath(value: object) -> bool:
    if isinstance(value, str):
        try:
            jmespath.compile(value)
        except (ValueError, RecursionError) as error:  # its own errors are ValueErrors, and so is a number without end
            said = " ".join(str(error).split()) or type(error).__name__
            raise FormatError(f"no JMESPath: {said[:160]}") from None
    return True
