"""Secrets do not reach a log: not as a field, not within a sentence, not in the text of an error.

What is hidden: fields by their names, values that have the form of a secret (our keys, webhook secrets, tokens of
well-known services, JSON web tokens, private keys, passwords in addresses), what stands behind a telling name, and the
secrets that this process was given, as they are.
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any

HIDDEN = "[hidden]"
_NAME = (
    r"(?:proxy-)?authorization|api[-_]?key|secret|token|password|passwd|passphrase|(?:set-)?cookie|webhook-signature"
    r"|credentials?|private[-_]?key|client[-_]secret|access[-_]key"
)
_FIELD = re.compile(rf"(?:.*[-_])?(?:{_NAME})", re.IGNORECASE)
_FORMS = re.compile(
    r"""
      -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | (?P<line>\b(?:(?:set-)?cookie|webhook-signature)["']?\s?[:=]\s?)[^\n]*
    | (?P<ours>\bpl_(?:[0-9A-Za-z]{12}_)?)[0-9A-Za-z_-]{16,}
    | (?P<stem>\b(?:(?:whsec|whsk|whpk|hf|gh[opsur]|github_pat)_|(?:glpat|xox[abpr])-))[0-9A-Za-z_+/=-]{8,}
    | (?P<sk>\bsk-)[0-9A-Za-z_-]{16,}
    | \bAKIA[0-9A-Z]{12,}
    | \bAIza[0-9A-Za-z_-]{30,}
    | \beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]*
    | (?P<scheme>\b(?:Bearer|Basic|Digest)\s+)[0-9A-Za-z._~+/=-]{16,}
    | (?P<user>://[^\s:/@]*:)[^\s/@]+(?=@)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_NAMED = re.compile(
    rf"""
    (?P<name>(?:{_NAME})["']?(?:=|:\s?|,\s?b?(?=["'])))
    (?:(?:Bearer|Basic|Digest)\s+)?
    (?:"[^"\n]*"|'[^'\n]*'|[^\s,;&"'\[)}}\]]+)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HINTS = (
    *("pl_", "whs", "whpk", "hf_", "gh", "glpat", "xox", "sk-", "akia", "aiza", "eyj", "://", "-----begin"),
    *("bearer", "basic", "digest", "cookie", "signature"),
    *("authorization", "key", "secret", "token", "passw", "passphrase", "credential"),
)
"""One of them is in all that the expressions find: most of what is logged has none, and is not searched."""
_LEFT = frozenset({"exc_info", "stack_info"})
"""Not texts yet."""
_DEPTH = 6
_SHORTEST = 8
"""Characters of a given secret; a shorter one would hide half of what is said."""
_GIVEN = re.compile(
    r"PRELABEL_(?:\w*(?:KEY|KEYS|SECRET|SECRETS|PASSWORD|TOKEN)|SECRET_(?!\w*_HOSTS$)\w+?)(?P<file>_FILE)?"
)
_LARGEST_FILE = 64 * 1024


class Redaction:
    """A processor of structlog: the event without secrets."""

    def __init__(self, given: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in given if len(secret) >= _SHORTEST}, key=len, reverse=True)
        self._given = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The event as it may be written."""
        for name, value in event.items():
            if name not in _LEFT and not name.startswith("_"):
                event[name] = self._field(name, value, _DEPTH)
        return event

    def errors(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The same for what came to the event since: the texts of its error."""
        for name in ("exception", "stack"):
            if isinstance(said := event.get(name), str):
                event[name] = self.text(said)
        return event

    def text(self, text: str) -> str:
        """A text without secrets."""
        if self._given is not None:
            text = self._given.sub(HIDDEN, text)
        lower = text.lower()
        if not any(hint in lower for hint in _HINTS):
            return text
        return _NAMED.sub(_hide_named, _FORMS.sub(_hide, text))

    def _field(self, name: str, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if _tells(name):
            return HIDDEN
        return self._value(value, depth)

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.text(value.decode(errors="replace"))
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {value}")
        if isinstance(value, Mapping) and depth:
            return {key: self._field(str(key), item, depth - 1) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)) and depth:
            return [self._value(item, depth - 1) for item in value]
        return value


@lru_cache(maxsize=1024)  # fields have few names
def _tells(name: str) -> bool:
    return _FIELD.fullmatch(name) is not None


def _hide(found: re.Match[str]) -> str:
    """Hide what was found, but for the part that says what it was."""
    return next((part for part in found.groupdict().values() if part), "") + HIDDEN


def _hide_named(found: re.Match[str]) -> str:
    return found["name"] + HIDDEN


def secrets_given(environment: Mapping[str, str]) -> list[str]:
    """The secrets that a process is given by its environment, or by files that this names."""
    found: list[str] = []
    for name, value in environment.items():
        given = _GIVEN.fullmatch(name)
        if given is None or not value:
            continue
        found += _lines(Path(value)) if given["file"] else [value]
    return found


def _lines(path: Path) -> list[str]:
    try:
        with path.open() as file:
            return [line.strip() for line in file.read(_LARGEST_FILE).splitlines()]
    except (OSError, UnicodeDecodeError):
        return []  # whoever needs it says what is wrong
