"""XML that strangers wrote, read without entities, document types or unbounded size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from ..errors import InvalidEvent

MAX_CONFIG_BYTES = 256 * 1024
"""A labelling configuration in UTF-8."""
MAX_DEPTH = 100
"""Elements inside elements."""


@dataclass(frozen=True, slots=True)
class Element:
    """A tag, its attributes and what is inside it. Text between tags says nothing in a configuration."""

    tag: str
    attributes: Mapping[str, str]
    children: list["Element"] = field(default_factory=list)

    def walk(self) -> Iterator["Element"]:
        """Everything inside, in the order of the document, without the element itself."""
        for child in self.children:
            yield child
            yield from child.walk()


def parse(text: str) -> Element:
    """The root element.

    Raises:
        InvalidEvent: no XML, too large, too deep, or with a document type (entities can read files and fill
        memory).
    """
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise InvalidEvent("invalid", "the labelling configuration is not valid Unicode") from None
    if len(content) > MAX_CONFIG_BYTES:
        raise InvalidEvent("too_large", f"the labelling configuration is over {MAX_CONFIG_BYTES} bytes")
    root = Element("", {})
    path = [root]

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(path) > MAX_DEPTH:
            raise InvalidEvent("invalid", f"the labelling configuration is deeper than {MAX_DEPTH} elements")
        element = Element(tag, attributes)
        path[-1].children.append(element)
        path.append(element)

    def refuse(*_: object) -> None:
        raise InvalidEvent("invalid", "a labelling configuration with a DOCTYPE or an ENTITY is not accepted")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: path.pop()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise InvalidEvent("invalid", f"the labelling configuration is not XML: {error}") from None
    return root.children[0]
