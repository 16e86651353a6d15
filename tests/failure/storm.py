"""Kills and restarts of processes beside whatever else a test does, and a look at what serves all the while."""

import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from tests.rig.processes import Prelabel

LOOK_SECONDS = 0.2


class Victims:
    """Who is killed and comes back: one at a time, whoever asks for it."""

    def __init__(self, prelabel: Prelabel) -> None:
        self._prelabel = prelabel
        self._turn = threading.Lock()
        self.kills: Counter[str] = Counter()

    def kill(self, name: str, when: str) -> None:
        """SIGKILL a process and start it again; returns when it is ready. Raises `NotRunning`."""
        with self._turn:
            print(f"{when}: {name} is killed")
            self._prelabel.kill(name)
            self.kills[name] += 1
            self._prelabel.restart(name)


class _Beside:
    """Something that is done in a thread while a `with` block runs; what goes wrong in it is raised at the end."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._error: BaseException | None = None
        self._over = threading.Event()

    def _work(self) -> None:
        raise NotImplementedError

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is not None and self._error is not None:
            error.add_note(f"beside it: {self._error!r}")
        elif self._error is not None:
            raise self._error


class Storm(_Beside):
    """Kills every victim in each round, in an order and at moments that are drawn, until the block is over."""

    def __init__(self, victims: Victims, names: Sequence[str], rng: random.Random, *, rounds: int, calm: float) -> None:
        """`calm`: at most so many seconds between one that is back and the next kill."""
        super().__init__()
        self._victims = victims
        self._names = names
        self._rng = rng
        self._rounds = rounds
        self._calm = calm

    def _work(self) -> None:
        for number in range(self._rounds):
            for name in self._rng.sample(self._names, len(self._names)):
                if self._over.wait(self._rng.uniform(0, self._calm)):
                    return
                self._victims.kill(name, f"round {number}")


@dataclass(slots=True)
class Seen:
    """What was seen of a model's serving pointer, and what was wrong with it."""

    looks: int = 0
    epochs: dict[int, str] = field(default_factory=dict)
    """The version of each."""
    wrong: list[str] = field(default_factory=list)
    _last: int = 0

    def look(self, serving: Mapping[str, Any], versions: Sequence[Mapping[str, Any]]) -> None:
        """A look: what serves, and afterwards the versions with their states."""
        self.looks += 1
        epoch, version = int(serving["epoch"]), str(serving["version"])
        if epoch < self._last:
            self.wrong.append(f"epoch {epoch} after {self._last}")
        if self.epochs.setdefault(epoch, version) != version:
            self.wrong.append(f"epoch {epoch} is {version}, and was {self.epochs[epoch]}")
        self._last = max(epoch, self._last)
        serve = [str(one["version"]) for one in versions if one["state"] == "serving"]
        if len(serve) > 1 or (epoch and not serve):
            self.wrong.append(f"at epoch {epoch} {serve or 'none'} of the versions serve")


class Watch(_Beside):
    """Looks again and again at what serves a model, while its Prelabel answers."""

    def __init__(self, prelabel: Prelabel, project: str, model: str) -> None:
        super().__init__()
        self.seen = Seen()
        headers = {"Authorization": f"Bearer {prelabel.key}"}
        address = f"{prelabel.address}/v1/projects/{project}/models/{model}"
        self._client = httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False)

    def _work(self) -> None:
        with self._client:
            while not self._over.wait(LOOK_SECONDS):
                if (serving := self._get("/serving")) and (listed := self._get("/versions")):
                    self.seen.look(serving, listed["versions"])

    def _get(self, path: str) -> Mapping[str, Any]:
        """An answer; empty where nobody gives one now."""
        try:
            answer = self._client.get(path)
        except httpx.HTTPError:
            return {}
        found: Mapping[str, Any] = answer.json() if answer.is_success else {}
        return found
