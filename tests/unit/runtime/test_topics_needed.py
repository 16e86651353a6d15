"""Before a process starts: its topics are there and allowed, or one line says which are not."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest
from prelabel_contract import names
from prelabel_runtime.bus.base import Missing
from prelabel_runtime.bus.sqlite import SqliteBus
from prelabel_runtime.errors import Refused, Unavailable
from prelabel_runtime.service import Service, Subscription
from prelabel_runtime.testing.doubles import ManualClock
from prelabel_runtime.topics.needed import wait_for_topics

INFERENCE = Service(
    "inference-echo",
    subscriptions=(Subscription(group="inference-echo-bulk", topics=(names.requests("echo", "bulk"),), on={}),),
)
GONE = Missing(names.PREDICTIONS, True, "there is no topic acme.prelabel.predictions")
DENIED = Missing(names.CONFIGS, False, "user echo has no right to READ topic acme.prelabel.configs")


class Scripted(SqliteBus):
    """A bus, never started, on which these things are missing, one answer after the other; the last one stays."""

    answers: Iterator[Sequence[Missing] | Unavailable]
    reads: Collection[str]
    writes: Collection[str]

    async def missing(self, *, reads: Collection[str], writes: Collection[str]) -> Sequence[Missing]:
        self.reads, self.writes = reads, writes
        answer = next(self.answers)
        if isinstance(answer, Unavailable):
            raise answer
        return answer


@pytest.fixture
def bus(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path / "log.db", clock=ManualClock())


async def test_a_process_asks_for_what_its_own_groups_use_and_no_other_s(bus: Scripted) -> None:
    bus.answers = iter([()])
    await wait_for_topics(bus, [INFERENCE], ManualClock(), 10)
    retry = names.retry("inference-echo-bulk")
    assert set(bus.reads) == {names.requests("echo", "bulk"), names.CONFIGS, names.MODELS, retry}
    set_aside = {retry, names.dead_letters("inference-echo-bulk")}
    assert set(bus.writes) == {names.PREDICTIONS, names.REPLIES, names.PROVIDERS, names.LEARNING, *set_aside}


async def test_it_waits_for_topics_and_for_a_bus_that_cannot_tell_yet(bus: Scripted) -> None:
    clock = ManualClock()
    bus.answers = iter([Unavailable("Kafka does not answer"), [GONE], [GONE], ()])
    await wait_for_topics(bus, [INFERENCE], clock, 10)
    assert next(bus.answers, None) is None


async def test_after_its_time_it_says_what_is_not_there_and_what_to_do(bus: Scripted) -> None:
    bus.answers = iter([[GONE]] * 100)
    with pytest.raises(Unavailable) as ended:
        await wait_for_topics(bus, [INFERENCE], ManualClock(), 10)
    assert "there is no topic acme.prelabel.predictions" in ended.value.what
    assert "prelabel topics apply" in ended.value.what


async def test_what_is_not_allowed_is_not_waited_for(bus: Scripted) -> None:
    clock = ManualClock()
    bus.answers = iter([[GONE, DENIED]])
    with pytest.raises(Refused, match=r"no right to READ topic acme\.prelabel\.configs; `prelabel topics plan`"):
        await wait_for_topics(bus, [INFERENCE], clock, 10)
