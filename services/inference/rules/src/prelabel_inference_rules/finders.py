"""Finding things in text in linear time, as code point offsets."""

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache

import re2

Finder = Callable[[str], Iterator[tuple[int, int]]]
"""Where something is: (start, end) in code points, from left to right, neither empty nor overlapping."""


class BadPattern(ValueError):
    """No regular expression, or one that says nothing."""


def pattern(expression: str, *, ignore_case: bool) -> Finder:
    """A finder for a regular expression in RE2's syntax. Raises `BadPattern`."""
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    try:
        compiled = re2.compile(expression, options)
    except re2.error as error:
        said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise BadPattern(said) from error
    if compiled.fullmatch("") is not None:
        raise BadPattern("it matches the empty text, so it would match everywhere")

    def find(text: str) -> Iterator[tuple[int, int]]:
        # Given a str, the binding turns UTF-8 offsets into code points itself, in one pass over the text.
        for match in compiled.finditer(text):
            start, end = match.span()
            if start < end:
                yield start, end

    return find


def substring(characters: str, *, ignore_case: bool) -> Finder:
    """A finder for characters as they are."""
    if ignore_case:  # not by lowering both: "İ".lower() is two characters, and every offset behind it is wrong
        return pattern(re2.escape(characters), ignore_case=True)

    def find(text: str) -> Iterator[tuple[int, int]]:
        start = text.find(characters)
        while start >= 0:
            end = start + len(characters)
            yield start, end
            start = text.find(characters, end)

    return find


class _Node:
    """A step of a phrase: what may follow it, and whose phrases end here."""

    __slots__ = ("ends", "next")

    def __init__(self) -> None:
        self.next: dict[str, _Node] = {}
        self.ends: list[int] = []


class Words:
    """Finds whole words and phrases of several rules in one walk over the text, however many words and rules there are.

    The text is cut into words (letters, digits, marks and underscores of all scripts) and single other
    characters, and walked along a tree of the phrases, which are cut likewise. Where several of a rule fit, its longest
    counts. An accent is the same whether it is composed or not.
    """

    def __init__(self, *, ignore_case: bool) -> None:
        self._ignore_case = ignore_case
        self._tokens = re.compile(rf"[\w{_marks()}]+|\S")
        self._root = _Node()

    def add(self, rule: int, phrases: Iterable[str]) -> None:
        """The phrases of one more rule, by a number of its own. Raises `BadPattern` for one of white space alone."""
        for phrase in phrases:
            node = self._root
            end = None
            for token in self._tokens.finditer(phrase):
                node = node.next.setdefault(self._step(token, end), _Node())
                end = token.end()
            if end is None:
                raise BadPattern("a phrase is white space alone")
            if rule not in node.ends:
                node.ends.append(rule)

    def __call__(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Where they are: (rule, start, end), each rule's from left to right, neither empty nor overlapping."""
        rest = self._tokens.finditer(text)
        ahead: deque[re.Match[str]] = deque()
        begins = self._root.next
        free: dict[int, int] = {}
        while (token := ahead.popleft() if ahead else next(rest, None)) is not None:
            node = begins.get(self._word(token))
            if node is None:
                continue
            start = token.start()
            for rule, end in self._longest(node, token, ahead, rest).items():
                if start >= free.get(rule, 0):
                    free[rule] = end
                    yield rule, start, end

    def _longest(
        self, node: _Node, last: re.Match[str], ahead: deque[re.Match[str]], rest: Iterator[re.Match[str]]
    ) -> dict[int, int]:
        """By rule, where its longest phrase ends that begins with `last`; what was read for it waits in `ahead`."""
        longest = dict.fromkeys(node.ends, last.end())
        position = 0
        while node.next:
            if position == len(ahead):
                if (token := next(rest, None)) is None:
                    break
                ahead.append(token)
            following = node.next.get(self._step(ahead[position], last.end()))
            if following is None:
                break
            node, last = following, ahead[position]
            longest.update(dict.fromkeys(node.ends, last.end()))
            position += 1
        return longest

    def _step(self, token: re.Match[str], end: int | None) -> str:
        # White space between two tokens must be there in phrase and text, or in neither: "C ++" is not "C++".
        apart = end is not None and token.start() > end
        return (" " if apart else "") + self._word(token)

    def _word(self, token: re.Match[str]) -> str:
        word = token.group()
        if self._ignore_case:
            word = word.casefold()
        return word if word.isascii() else unicodedata.normalize("NFC", word)


@cache
def _marks() -> str:
    """Combining marks, which Python's own \\w leaves out, as ranges of a character class."""
    ranges: list[list[int]] = []
    for code in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)):
        if unicodedata.category(chr(code))[0] != "M":
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
