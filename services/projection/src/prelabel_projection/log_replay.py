"""The log, read from its first record into a generation of the projection, through the handlers that the live one has.

Nothing else comes of it: what handlers answer is dropped, no run is announced, nothing is published.

What the live projection has given up is passed over where it first stood, until somebody replays it: the replays are
read, too, from where the live projection stood in them when it was looked which records it had given up.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from prelabel_contract import cloudevents, names
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.events import AnyEvent, EventData
from prelabel_runtime.bus.base import Bus, Partition, Reader, Record
from prelabel_runtime.dead_letters import DEAD_LETTER_HEADER, origin, read_aside
from prelabel_runtime.service import Handler, Reply

from .handlers import Projection
from .letters import is_dead_letters, resolved

BATCH = 1000
GROUP = "projection"
"""The group that writes the live projection from events."""
RETRIES = names.retry(GROUP)
Places = dict[Partition, int]
Origin = tuple[str, int, int]
"""Topic, partition and offset."""


class Gap(Exception):
    """The log does not hold all that was written to it."""

    def __init__(self, place: Partition, offset: int, found: int) -> None:
        where = f"{place.topic}, partition {place.number}"
        super().__init__(f"{where}: offset {offset} is missing, the next that the log holds is {found}")
        self.place = place
        self.offset = offset


class LogReplay:
    """Applies the log, up to where it is asked to.

    places       what has been applied already: the next offset per partition; counts on
    passed_over  records that the live projection has given up, by where they stood
    """

    def __init__(self, bus: Bus, projection: Projection, *, places: Places, passed_over: Collection[Origin]) -> None:
        self.places = places
        self.invalid = 0
        """Records that cannot be read, which the live projection has set aside as well."""
        self._bus = bus
        self._projection = projection
        self._passed_over = frozenset(passed_over)
        self._on: Mapping[type[EventData], Handler] = {**projection.on(), **projection.decisions()}
        self._types = {kind.TYPE: kind for kind in self._on}
        self._readers: list[Reader] = []
        self._topics: set[str] = set()

    async def close(self) -> None:
        """Let go of the log."""
        readers, self._readers = self._readers, []
        self._topics.clear()
        for reader in readers:
            await reader.stop()

    async def reach(self, ends: Mapping[Partition, int], beat: Callable[[], Awaitable[None]]) -> None:
        """Apply at least what stands before `ends`. Raises `Gap`."""
        await self._open({place.topic for place in ends} - self._topics)
        for reader in self._readers:
            while any(self.places.get(place, 0) < end for place, end in ends.items() if _reads(reader, place)):
                await self._apply(self._new(await reader.poll(BATCH, 0.5)))
                self._check_tails(reader, ends)
                await beat()

    async def reach_exactly(self, ends: Mapping[Partition, int], beat: Callable[[], Awaitable[None]]) -> None:
        """Apply what stands before `ends`, and nothing else."""
        await self._open({place.topic for place in ends} - self._topics)
        for reader in self._readers:
            while any(self.places.get(place, 0) < end for place, end in ends.items() if _reads(reader, place)):
                records = self._new(await reader.poll(BATCH, 0.5))
                await self._apply([r for r in records if r.offset < ends.get(r.place, 0)])
                self._check_tails(reader, ends)
                await beat()
        await self.close()  # its readers have gone further than was applied: others begin anew

    async def _open(self, topics: Collection[str]) -> None:
        if topics:
            reader = self._bus.reader(sorted(topics), start="beginning")
            await reader.start()
            self._readers.append(reader)
            self._topics.update(topics)

    def _new(self, records: Sequence[Record]) -> list[Record]:
        """Those that have not been applied yet. Raises `Gap` where one is missing between them."""
        seen: Places = {}
        for record in records:
            expected = max(self.places.get(record.place, 0), seen.get(record.place, 0))
            if record.offset > expected and record.topic != RETRIES:
                raise Gap(record.place, expected, record.offset)
            seen[record.place] = record.offset + 1
        return [record for record in records if record.offset >= self.places.get(record.place, 0)]

    def _check_tails(self, reader: Reader, ends: Mapping[Partition, int]) -> None:
        """A reader that has passed what was to be applied has passed over something that is gone."""
        for place, end in ends.items():
            if _reads(reader, place) and self.places.get(place, 0) < end <= reader.position(place):
                if place.topic != RETRIES:
                    raise Gap(place, self.places.get(place, 0), reader.position(place))
                self.places[place] = end  # kept for some days only, and what is gone nobody has handled

    async def _apply(self, records: Sequence[Record]) -> None:
        letters = [record for record in records if is_dead_letters(record.topic)]
        if letters:
            await self._projection.letters(letters)
        todo: dict[Handler, list[AnyEvent]] = {}
        for record in records:
            if not is_dead_letters(record.topic) and (event := self._event(record)) is not None:
                todo.setdefault(self._on[type(event.data)], []).append(event)
        for handler, events in todo.items():
            replies: Sequence[Reply] = await handler(events)
            self.invalid += sum(isinstance(reply, InvalidEvent) for reply in replies)
        for record in records:
            self.places[record.place] = max(self.places.get(record.place, 0), record.offset + 1)

    def _event(self, record: Record) -> AnyEvent | None:
        if (record.topic, record.partition, record.offset) in self._passed_over:
            return None
        topic, _, offset, _ = origin(record)
        try:
            return cloudevents.decode(
                record.headers, record.value, topic=topic, key=record.key, offset=offset, types=self._types
            )
        except InvalidEvent:
            self.invalid += 1
            return None


def _reads(reader: Reader, place: Partition) -> bool:
    try:
        reader.position(place)
    except KeyError:
        return False
    return True


async def given_up(bus: Bus) -> set[Origin]:
    """Records that the live projection has given up and not handled since, by where they first stood.

    They are found in the log itself, since the index of them is part of what is rebuilt.
    """
    topic = names.dead_letters(GROUP)
    letters: dict[str, Origin] = {}
    handled: set[str] = set()
    for place, end in (await bus.offsets([topic], "end")).items():
        at = 0
        while at < end and (records := await bus.fetch(place, at, BATCH)):
            for record in records:
                if (said := resolved(record)) is not None:
                    handled.add(said[0])
                elif (aside := read_aside(record, DEAD_LETTER_HEADER)) is not None:
                    name = names.letter_id(GROUP, record.partition, record.offset)
                    letters[name] = (aside.topic, aside.partition, aside.offset)
            at = records[-1].offset + 1
    return set(letters.values()) - {letters[name] for name in handled if name in letters}
