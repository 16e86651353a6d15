"""Secrets by name: settings of a model say {"secret": "NER_TOKEN"}, the installation says what that is.

    PRELABEL_SECRET_NER_TOKEN        the secret itself
    PRELABEL_SECRET_NER_TOKEN_FILE   or a file that holds it, read at each use: it may be replaced meanwhile
    PRELABEL_SECRET_NER_TOKEN_HOSTS  where it may be sent, as JSON: ["ner.example.org", "*.models.lan"]

Whoever may change a project's models chooses where calls go: without the hosts, any of them could have any secret
sent to an address of their own. So a secret without hosts goes nowhere.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from prelabel_contract.base import Model
from pydantic import ConfigDict, Field

from .failures import NotAllowed

PREFIX = "PRELABEL_SECRET_"
_LARGEST = 64 * 1024


class Secret(Model):
    """A secret, by its name."""

    model_config = ConfigDict(extra="forbid")

    secret: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
    """The name that the installation knows it by."""
    prefix: Annotated[str, Field(max_length=40, pattern=r"^[\x20-\x7e]*$")] = ""
    """Put before it, "Bearer " for one."""


class Secrets:
    """What an environment says about secrets. Nothing is read before it is needed."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def value(self, secret: Secret, url: str) -> str:
        """The secret, with its prefix, for a call of `url`. Raises `NotAllowed`, which names it and never shows it."""
        name = PREFIX + secret.secret
        host = (urlsplit(url).hostname or "").lower()
        if not any(_matches(host, known) for known in self._hosts(name)):
            raise NotAllowed(f"the secret {secret.secret} may not be sent to {host}: {name}_HOSTS says where it may")
        return secret.prefix + self._value(name)

    def _value(self, name: str) -> str:
        if value := self._environment.get(name):
            return value
        if path := self._environment.get(f"{name}_FILE"):
            try:
                with Path(path).open() as file:
                    return file.read(_LARGEST).strip()
            except (OSError, UnicodeDecodeError):
                raise NotAllowed(f"the file that {name}_FILE names cannot be read") from None
        raise NotAllowed(f"there is no such secret: neither {name} nor {name}_FILE is set")

    def _hosts(self, name: str) -> list[str]:
        try:
            hosts = json.loads(self._environment.get(f"{name}_HOSTS", "[]"))
        except ValueError:
            raise NotAllowed(f'{name}_HOSTS is no JSON: write ["ner.example.org"]') from None
        return [host.lower() for host in hosts if isinstance(host, str)] if isinstance(hosts, list) else []


def _matches(host: str, known: str) -> bool:
    return host == known or (known.startswith("*.") and host.endswith(known[1:]))
