"""`prelabel doctor`: what is wrong, in words, and what to do."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlsplit

from ..errors import Defect, NoAccess, NotFound, TryLater, Unreachable
from .exits import DATA, UNAVAILABLE, Ended, say
from .options import Json, Profile
from .output import Out, clean, counted
from .session import session

if TYPE_CHECKING:
    from ..client import Client

T = TypeVar("T")
State = Literal["ok", "look", "wrong", "unknown"]
SKEW_LOOK, SKEW_WRONG = 5.0, 240.0
"""Seconds. Webhooks are refused by their receivers at 300."""
EXPIRES_SOON = 14 * 86_400
WAITS_SECONDS = 60.0
"""A provider that has not answered for so long may not run: that one has announced itself once does not tell."""
OLD_SECONDS = 600.0
"""A task that waits longer than this for its outcome is worth a look."""
LAG_LOOK = 10_000
_BEHIND_THE_KEY = frozenset({"clock", "models", "webhooks", "dead letters"})
_METRIC = re.compile(r"^(prelabel_[a-z_]+)(?:\{(.*)\})? ([0-9.eE+-]+)$")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    state: State
    said: str
    do: str = ""
    """What would mend it."""


Check = Callable[["Client"], Iterator[Finding]]


def doctor(profile: Profile = None, json: Json = False) -> None:
    """Say what is wrong, in words, and what to do.

    Looks at the address, the key, the clock, bus and store, what waits, topics, models, webhooks and dead letters. Exit
    code 1 if something is wrong.

    \b
    Example:
      prelabel doctor
    """
    out = Out(json=json)
    wrong = False
    with session(profile) as client:
        for finding in _findings(client):
            wrong = wrong or finding.state == "wrong"
            _tell(out, finding)
    if wrong:
        raise Ended(DATA)


def _findings(client: "Client") -> Iterator[Finding]:
    checks: Mapping[str, Check] = {
        "address": _address,
        "key": _key,
        "clock": _clock,
        "bus and store": _probes,
        "backlog": _metrics,
        "topics": _topics,
        "models": _models,
        "webhooks": _webhooks,
        "dead letters": _dead_letters,
    }
    known = True
    for name, check in checks.items():
        if not known and name in _BEHIND_THE_KEY:
            continue  # each would only say once more that the key is not known
        try:
            for finding in check(client):
                known = known and (finding.check, finding.state) != ("key", "wrong")
                yield finding
        except NoAccess:
            yield Finding(name, "unknown", "this key may not ask", "use a profile with a key of the role admin")
        except NotFound:
            yield Finding(name, "unknown", "this Prelabel does not tell: it may be an older version")
        except (Unreachable, TryLater) as error:
            yield Finding(name, "wrong", error.detail, "start it (`prelabel up`), or use another profile")
            if name == "address":
                say("nothing else can be checked while it does not answer")
                raise Ended(UNAVAILABLE) from None
        except Defect as error:
            yield Finding(name, "wrong", error.detail, "look into its log")


def _address(client: "Client") -> Iterator[Finding]:
    found = client.connection
    where = f"{found.address} ({'profile ' + found.profile if found.profile else 'from the environment'})"
    with contextlib.suppress(NoAccess):  # somebody answers: the next check tells about the key
        try:
            client.me()
        except NotFound:
            do = "is the address right? another program may have the port"
            yield Finding("address", "wrong", f"{where} answers, but not as Prelabel does", do)
            raise Ended(DATA) from None
    url = urlsplit(found.address)
    if url.scheme == "http" and not _near(url.hostname or ""):
        yield Finding("address", "look", f"{where} answers, unencrypted", "use https: the key can be read on its way")
    else:
        yield Finding("address", "ok", f"{where} answers")


def _near(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _key(client: "Client") -> Iterator[Finding]:
    try:
        me = client.me()
    except NoAccess as error:
        do = "get one from an admin (`prelabel key create`), then `prelabel profile add`; `prelabel up` keeps its own"
        yield Finding("key", "wrong", error.detail, do)
        return
    reach = "all projects" if me.projects is None else ", ".join(me.projects)
    said = f"{me.name or me.id}, {me.role}, {reach}"
    left = None if me.expires_ms is None else me.expires_ms / 1000 - time.time()
    if left is not None and left < EXPIRES_SOON:
        do = "make another: `prelabel key create`"
        yield Finding("key", "look", f"{said}; it ends in {max(0.0, left) / 86_400:.1f} days", do)
    else:
        yield Finding("key", "ok", said)


def _clock(client: "Client") -> Iterator[Finding]:
    before = time.time()
    me = client.me()
    after = time.time()
    if me.now_ms is None:
        return
    # The server looked at its clock at some moment between the two.
    there = me.now_ms / 1000
    skew = there - after if there > after else min(0.0, there - before)
    said = f"the server's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    if abs(skew) < SKEW_LOOK:
        yield Finding("clock", "ok", "the two clocks agree")
    elif abs(skew) < SKEW_WRONG:
        yield Finding("clock", "look", said, "set one of them by NTP")
    else:
        yield Finding("clock", "wrong", f"{said}: receivers refuse webhooks", "set one of them by NTP")


def _probes(client: "Client") -> Iterator[Finding]:
    from .status import missing

    found = missing(client.connection.health)
    if found is None:
        do = "say where: prelabel profile add NAME --address … --health http://HOST:8081"
        yield Finding("bus and store", "unknown", "the profile does not say where the probes are", do)
        return
    if not found:
        yield Finding("bus and store", "ok", "every part has started and joined; nothing waits for a bus or a store")
    for what, why in found.items():
        do = "look into its log"
        if "waiting for" in why:
            do = "start what it waits for, or look at PRELABEL_BUS and PRELABEL_STORE"
        yield Finding("bus and store", "wrong", f"{what}: {why}", do)


def _metrics(client: "Client") -> Iterator[Finding]:
    metrics = _scraped(client.connection.health)
    if metrics is None:
        return
    age = max((value for name, _, value in metrics if name == "prelabel_oldest_unresolved_seconds"), default=0.0)
    if age > OLD_SECONDS:
        do = "prelabel tasks --state pending, then prelabel trace TASK"
        yield Finding("backlog", "look", f"the oldest task waits for {age / 60:.0f} min", do)
    lagging = [
        (labels, value) for name, labels, value in metrics if name == "prelabel_lag_records" and value > LAG_LOOK
    ]
    for labels, value in lagging:
        said = f"{labels.get('group')} is {counted(round(value), 'record')} behind on {labels.get('topic')}"
        yield Finding("backlog", "look", said, "wait, or start more processes of that service")
    if age <= OLD_SECONDS and not lagging:
        yield Finding("backlog", "ok", "nothing waits long")


def _scraped(health: str | None) -> list[tuple[str, dict[str, str], float]] | None:
    if health is None:
        return None
    import httpx

    try:
        text = httpx.get(f"{health}/metrics", timeout=10, trust_env=False).text
    except httpx.HTTPError:
        return None
    found = (_METRIC.match(line) for line in text.splitlines())
    return [(one[1], dict(_LABEL.findall(one[2] or "")), float(one[3])) for one in found if one is not None]


def _topics(_: "Client") -> Iterator[Finding]:
    import os

    bus = os.environ.get("PRELABEL_BUS", "")
    if not bus.startswith("kafka:"):
        said = "not looked at: PRELABEL_BUS names no Kafka here"
        yield Finding("topics", "unknown", said, "only where Prelabel runs on Kafka: prelabel topics plan --check")
        return
    from .topics import differs

    code = differs()
    if code == 0:
        yield Finding("topics", "ok", "Kafka has what is needed")
    elif code == DATA:
        yield Finding("topics", "wrong", "topics or rights are missing, or differ", "prelabel topics plan, then apply")
    else:
        yield Finding("topics", "wrong", "Kafka could not be asked", "prelabel topics plan says why")


def _models(client: "Client") -> Iterator[Finding]:
    known = {one.provider: one for one in client.providers()}
    projects = list(islice(client.projects(), 100))
    wrong = 0
    for project in projects:
        counts = client.counts(project.id).models
        for model in project.models:
            name, provider = str(model.get("name")), str(model.get("provider"))
            states = counts.get(name, {})
            where = f"{project.id}: the model {name}"
            failed = counted(states.get("failed", 0), "task")
            if provider not in known:
                wrong += 1
                do = f"install and start prelabel-inference-{provider}, or change the project"
                yield Finding("models", "wrong", f"{where} needs the provider {provider}, which does not run", do)
            elif known[provider].state == "gone":
                wrong += 1
                silent = max(0.0, time.time() - (known[provider].seen_ms or 0) / 1000)
                said = f"{where} needs the provider {provider}, which was last heard of {silent / 60:.0f} min ago"
                yield Finding("models", "wrong", said, f"start prelabel-inference-{provider} again, or read its log")
            elif states.get("failed") and not states.get("created"):
                wrong += 1
                do = f"prelabel predictions --project {project.id} --model {name} --state failed"
                yield Finding("models", "wrong", f"{where} has failed on everything: {failed}", do)
            elif states.get("failed"):
                do = f"prelabel predictions --project {project.id} --model {name} --state failed"
                yield Finding("models", "look", f"{where} has failed on {failed}", do)
            if states.get("pending") and provider in known:
                yield from _waiting(client, project.id, name, provider)
    if not wrong:
        said = (
            f"projects: {len(projects)}; providers that run: "
            f"{', '.join(sorted(name for name, one in known.items() if one.state == 'running')) or 'none'}"
        )
        yield Finding("models", "ok", said)


def _waiting(client: "Client", project: str, model: str, provider: str) -> Iterator[Finding]:
    first = next(iter(client.tasks(project, model=model, state="pending", limit=1)), None)
    if first is None or first.accepted_ms is None:
        return
    age = time.time() - first.accepted_ms / 1000
    if age > WAITS_SECONDS:
        said = f"{project}: a task waits for the model {model} for {age / 60:.0f} min"
        do = f"is prelabel-inference-{provider} running? prelabel trace {first.task} --project {project}"
        yield Finding("models", "look", said, do)


def _webhooks(client: "Client") -> Iterator[Finding]:
    found = list(client.subscriptions(limit=200))
    for one in found:
        if one.state != "active":
            do = f"mend the endpoint, then prelabel webhook resume {one.id}"
            yield Finding("webhooks", "wrong", f"{one.url} is {one.state}: {one.reason or 'no reason given'}", do)
            continue
        failing = next(iter(client.deliveries(one.id, state="pending", limit=1)), None)
        if failing is not None:
            said = f"{one.url} does not take what is sent: {_latest(failing.latest)}"
            yield Finding("webhooks", "look", said, f"prelabel webhook deliveries {one.id} --state pending")
    if all(one.state == "active" for one in found):
        yield Finding("webhooks", "ok", f"{len(found)} subscriptions")


def _latest(attempt: "Mapping[str, object] | None") -> str:
    words = (attempt or {}).get("error") or (attempt or {}).get("status") or "not tried yet"
    return str(words)


def _dead_letters(client: "Client") -> Iterator[Finding]:
    found = list(client.dead_letters(state="open", limit=1000))
    if not found:
        yield Finding("dead letters", "ok", "none is open")
        return
    by_group: dict[tuple[str, str], int] = {}
    for one in found:
        by_group[one.group, one.reason] = by_group.get((one.group, one.reason), 0) + 1
    for (group, reason), number in sorted(by_group.items()):
        more = "+" if len(found) == 1000 else ""
        do = f"prelabel deadletters --group {group}, then prelabel replay --group {group}"
        yield Finding("dead letters", "look", f"{number}{more} of {group}: {reason}", do)


def _tell(out: Out, finding: Finding) -> None:
    if out.json:
        out.value(asdict(finding))
        return
    do = f"\n{'':8}{'':14}{clean(finding.do)}" if finding.do else ""
    out.line(f"{finding.state:<8}{finding.check:<14}{clean(finding.said)}{do}")
