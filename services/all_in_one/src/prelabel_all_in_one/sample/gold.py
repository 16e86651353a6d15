"""Weak gold: the names of modules, types, exceptions and functions in a passage, as far as they can be known.

A name is marked when the library defines it *and* its surroundings say that it is meant: "time" is a module in "the
time module" and a word elsewhere. The surroundings are what a model can learn; the list of names it never sees.
"Weak" because nobody checked the marks one by one.
"""

import re
from dataclasses import dataclass

from prelabel_all_in_one.sample.corpus import Passage
from prelabel_all_in_one.sample.stdlib import Names

MODULE, TYPE, EXCEPTION, FUNCTION = LABELS = ("MODULE", "TYPE", "EXCEPTION", "FUNCTION")

_NAME = re.compile(r"(?<![\w.@/\\%$-])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?![\w@\\]|/\w|-\w)")
_CALL = re.compile(r"\((?!e?s\))")
_HUMPS = re.compile(r"_*[A-Z]+[a-z0-9]+[A-Z]\w*|_*[A-Z]{2,}[a-z]\w*")
_ONE_HUMP = re.compile(r"_*[A-Z][a-z]\w*")
_AFTER_TYPE = re.compile(r"[`'\"]*[ -](?:objects?|instances?|class|classes|subclass(?:es)?|types?)\b")
_AFTER_MODULE = re.compile(r"[`'\"]* (?:modules?|package|library)\b")
_AFTER_FUNCTION = re.compile(r"[`'\"]* (?:functions?|methods?|builtin|coroutine)\b")
_BEFORE_MODULE = re.compile(r"(?:\bmodules?|\bpackage|\bimport|\bimporting|\bfrom the|\bsee) [`'\"]*$")
_BEFORE_RAISED = re.compile(r"(?:\b[Rr]ais(?:e|es|ed|ing)|\bcatch(?:es)?) (?:an? )?[`'\"]*$")
_SENTENCE_START = re.compile(r"(?:^|[.!?:]['\")]* +)[`'\"(]*$")

_ALWAYS_TYPES = frozenset({"str", "int", "dict", "bool", "float", "tuple", "bytearray", "frozenset", "memoryview"})
_SOMETIMES_TYPES = frozenset({"bytes", "list", "set", "complex", "slice", "range"})
_NOT_TYPES = frozenset({"Python", "Unicode", "English", "Internet", "Windows", "Unix", "Posix", "Python2", "Python3"})
_NOT_RAISED = frozenset({"Warning", "Error", "Exception"})  # as the first word of a note: "Warning: ..."
_WORDS_TOO = frozenset(
    "abc array ast binascii bisect builtins calendar chunk code codecs copy crypt email enum errno fractions "
    "functools glob grp gettext grammar html http idlelib inspect io json keyword locale logging mailbox math mmap "
    "msilib nis ntpath numbers opcode operator parser pickle pipes platform profile queue random re readline "
    "resource sched secrets select selectors shelve signal site socket spwd ssl stat statistics string struct symbol "
    "symtable syslog test this threading time timeit token tokenize trace traceback turtle types typing uu uuid venv "
    "warnings wave xml zlib antigravity cmd compression concurrent curses csv datetime decimal dis gzip bz2 lzma nt "
    "posix pwd pty pdb tty annotationlib heapq graphlib zipapp encodings dataclasses collections".split()
)
"""Modules whose name is also a word, a format or an argument: they count only where the text says that it is a module."""


@dataclass(frozen=True, slots=True)
class Gold:
    """Marks the names that `names` knows. Spans never overlap and come in the order of the text."""

    names: Names

    def __call__(self, passage: Passage) -> list[tuple[int, int, str]]:
        """(start, end, label) of every name in the passage's text, in code points, end exclusive."""
        return self.mark(passage.text)

    def mark(self, text: str) -> list[tuple[int, int, str]]:
        """As for a passage, for any text."""
        spans = []
        for match in _NAME.finditer(text):
            label = self._label(match.group(), text[: match.start()], text[match.end() :])
            if label:
                spans.append((match.start(), match.end(), label))
        return spans

    def _label(self, name: str, before: str, after: str) -> str | None:
        if "." in name:
            return self._dotted(name, called=bool(_CALL.match(after)))
        return self._simple(name, before, after)

    def _dotted(self, name: str, *, called: bool) -> str | None:
        owner, _, last = name.rpartition(".")
        if name in self.names.modules:
            return MODULE
        known = owner in self.names.modules or owner.rpartition(".")[2] in self.names.classes
        if known and last in self.names.exceptions:
            return EXCEPTION
        if known and last in self.names.classes:
            return TYPE
        if (known or called) and last in self.names.functions:
            return FUNCTION
        return None

    def _simple(self, name: str, before: str, after: str) -> str | None:
        called = bool(_CALL.match(after))
        if name in self.names.exceptions and not (name in _NOT_RAISED and after.startswith(":")):
            plain = name.endswith(("Error", "Exception", "Warning")) or _HUMPS.fullmatch(name)
            if plain and name[0].isupper():
                return EXCEPTION
            return EXCEPTION if _BEFORE_RAISED.search(before) else None
        if called and name in self.names.functions:
            return FUNCTION
        if name in self.names.classes and self._is_type(name, before, after, called=called):
            return TYPE
        if name in self.names.modules and self._is_module(name, before, after):
            return MODULE
        if name in self.names.functions and self._is_function(name, after):
            return FUNCTION
        return None

    @staticmethod
    def _is_type(name: str, before: str, after: str, *, called: bool) -> bool:
        if name.isupper() or name in _NOT_TYPES:
            return False
        if name in _ALWAYS_TYPES or called or _HUMPS.fullmatch(name):
            return True
        if _AFTER_TYPE.match(after):
            return name in _SOMETIMES_TYPES or name[0].isupper()
        return bool(_ONE_HUMP.fullmatch(name)) and not _SENTENCE_START.search(before)

    @staticmethod
    def _is_module(name: str, before: str, after: str) -> bool:
        if _AFTER_MODULE.match(after) or _BEFORE_MODULE.search(before):
            return True
        return name not in _WORDS_TOO and name.islower() and len(name) > 1

    def _is_function(self, name: str, after: str) -> bool:
        if name in self.names.parameters:
            return bool(_AFTER_FUNCTION.match(after)) and "_" in name
        return "_" in name.strip("_") or (name.startswith("__") and name.endswith("__")) or (
            bool(_AFTER_FUNCTION.match(after)) and len(name) > 3
        )
