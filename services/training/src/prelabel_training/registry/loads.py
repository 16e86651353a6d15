"""What those who predict say about the versions they were told to load."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from prelabel_contract import names
from prelabel_contract.events import AnyEvent, Event, ModelLoaded
from prelabel_provider.serving.pointers import TRIED_AGAIN
from prelabel_runtime.store.documents import Documents

from .registry import Pointer

KIND: Final = "load"
"""The kind of the document of a version that was loaded or refused; its key is <project>/<model>/<version>."""
_ATTEMPTS: Final = 20
_MOST: Final = 500
"""Characters of what a process says."""


@dataclass(frozen=True, slots=True)
class Loads:
    """Which versions could be loaded, and which were refused. The newest word of each host counts."""

    documents: Documents

    async def loaded(self, told: Event[ModelLoaded]) -> Sequence[AnyEvent]:
        """A process has taken up a version, or refused it."""
        data = told.data
        key = f"{names.model_key(data.project, data.model)}/{data.version}"
        for _ in range(_ATTEMPTS):
            found = await self.documents.get(KIND, key)
            hosts: dict[str, dict[str, object]] = {} if found is None else orjson.loads(found.body)
            known = hosts.get(data.host)
            if known is not None and int(str(known["at_ms"])) >= told.time_ms:
                return []
            hosts[data.host] = {
                "at_ms": told.time_ms,
                "state": data.state,
                "epoch": data.epoch,
                "detail": _shortened(data.detail),
                "memory_mib": data.memory_mib,
                "seconds": data.seconds,
            }
            newest = sorted(hosts.items(), key=lambda one: int(str(one[1]["at_ms"])))[
                -50:
            ]  # hosts have new names daily
            body = orjson.dumps(dict(newest)).decode()
            if await self.documents.put(KIND, key, body, expected=found.revision if found else 0) is not None:
                return []
        return []  # so many hosts at once: one of them said it

    async def of(self, project: str, model: str, version: str) -> Sequence[Mapping[str, object]]:
        """What each host said last about a version, the newest first."""
        found = await self.documents.get(KIND, f"{names.model_key(project, model)}/{version}")
        hosts: dict[str, dict[str, Any]] = {} if found is None else orjson.loads(found.body)
        said: list[dict[str, Any]] = [{"host": host, **one} for host, one in hosts.items()]
        return sorted(said, key=lambda one: -int(one["at_ms"]))

    async def refused_at(self, pointer: Pointer) -> bool:
        """Whether some process said last that it refused what serves, of the change that made it serve."""
        said = await self.of(pointer.project, pointer.model, pointer.version)
        return any(one["epoch"] == pointer.epoch and one["state"] == "refused" for one in said)

    async def refusals(
        self, project: str, model: str, versions: Sequence[str], pointer: Pointer | None
    ) -> dict[str, str]:
        """Of some versions those that could be loaded nowhere, and why. Of what serves only what is said of it now."""
        prefix = names.model_key(project, model)
        found = await self.documents.get_many(KIND, [f"{prefix}/{version}" for version in versions])
        told: dict[str, str] = {}
        for version in versions:
            document = found.get(f"{prefix}/{version}")
            if document is None:
                continue
            since = pointer.epoch if pointer is not None and pointer.version == version else 0
            hosts = [one for one in orjson.loads(document.body).values() if one["epoch"] >= since]
            if hosts and all(one["state"] == "refused" for one in hosts):
                told[version] = max(hosts, key=lambda one: one["at_ms"])["detail"] or "it could not be loaded"
        return told


def _shortened(detail: str) -> str:
    end = TRIED_AGAIN if detail.endswith(TRIED_AGAIN) else ""
    return detail if len(detail) <= _MOST else detail[: _MOST - len(end)] + end
