"""Server-sent events (the WHATWG's text/event-stream), fed piece by piece."""

from dataclasses import dataclass

LONGEST_LINE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event."""

    event: str
    data: str
    id: str


class EventParser:
    """Turns pieces of a stream into events; keeps the last id and the server's wish for the wait between two tries."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_seconds: float | None = None
        self._rest = b""
        self._event = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """The events that are complete now. Raises ValueError for a stream that is none."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise ValueError("an endless line")
        found = (self._line(line.rstrip(b"\r").decode("utf-8", "replace")) for line in lines)
        return [event for event in found if event is not None]

    def restart(self) -> None:
        """Forget what was incomplete when the connection was lost."""
        self._rest, self._event, self._data = b"", "", []

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            event = ServerEvent(self._event or "message", "\n".join(self._data), self.last_id) if self._data else None
            self._event, self._data = "", []
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isdigit():
                self.retry_seconds = int(value) / 1000
        return None
