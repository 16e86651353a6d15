"""Weak gold: the names of modules, types, exceptions and functions in a passage, as far as they can be known.

A name is marked when the library defines it *and* its surroundings say that it is meant: "time" is a module
in "the time module" and a word elsewhere. The surroundings are what a model can learn; the list of names it
never sees. "Weak" because nobody checked the marks one by one.
"""

import re
from dataclasses import dataclass

from prelabel_all_in_one.sample.corpus import Passage
from prelabel_all_in_one.sample.stdlib import Names

MODULE, TYPE, EXCEPTION, FUNCTION = LABELS = ("MODULE", "TYPE", "EXCEPTION", "FUNCTION")

_NAME = re.compile(r"(?<![\w@/\\%$-])(?<!\w\.)[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?![\w@\\]|/\w|-\w)")
_CALL = re.compile(r"[`'\"]?\((?!e?s\))")
_HUMPS = re.compile(r"_*[A-Z]+[a-z0-9]+[A-Z]\w*|_*[A-Z]{2,}[a-z]\w*")
_ONE_HUMP = re.compile(r"_*[A-Z][a-z]\w*")
_TYPE_AFTER = re.compile(r"[`'\"]*[ -](?:objects?|instances?|class|classes|subclass(?:es)?|types?|widgets?)\b")
_TYPE_BEFORE = re.compile(r"(?:\bclass|\binstances? of|\bsubclass(?:es)? of|:class:) ?(?:the |an? )?[`'\"]*$")
_MODULE_AFTER = re.compile(r"[`'\"]* (?:modules?|package|library)\b")
_MODULE_BEFORE = re.compile(r"(?:\bmodules?|\bpackage|\bimport|\bimporting|:mod:) ?[`'\"]*$")
_FUNCTION_AFTER = re.compile(r"[`'\"]* (?:functions?|methods?|coroutine|routine)\b")
_FUNCTION_BEFORE = re.compile(r"(?:\bfunction|\bmethods?|:meth:|:func:) ?[`'\"]*$")
_RAISED_BEFORE = re.compile(r"(?:\b[Rr]ais(?:e|es|ed|ing)|\bcatch(?:es)?) (?:an? )?[`'\"]*$")

_ALWAYS_TYPES = frozenset({"str", "int", "dict", "bool", "float", "tuple", "bytearray", "frozenset", "memoryview"})
_SOMETIMES_TYPES = frozenset({"bytes", "list", "set", "complex", "slice", "range"})
_NOT_TYPES = frozenset({"Windows", "Unicode", "Python", "Class", "Base"})
_NOT_RAISED = frozenset({"Warning", "Error", "Exception"})  # as the first word of a note: "Warning: ..."
_NOT_MODULES = frozenset({"this", "antigravity", "code", "main", "test"})
_PLAIN_MODULE_NAMES = """
    argparse asynchat asyncio asyncore atexit binascii bz2 configparser contextlib contextvars copyreg
    ctypes difflib distutils doctest ensurepip faulthandler fcntl fileinput fnmatch ftplib functools
    gettext graphlib gzip hashlib heapq hmac idlelib imaplib importlib ipaddress itertools linecache
    lzma marshal mimetypes mmap msvcrt multiprocessing netrc nntplib ntpath optparse os pathlib pdb
    pickletools pkgutil plistlib poplib posixpath pprint pstats pyclbr pydoc pyexpat quopri rlcompleter
    runpy shlex shutil smtplib socketserver sqlite3 subprocess sys sysconfig tarfile tempfile termios
    timeit tkinter tomllib tracemalloc unittest urllib weakref winreg wsgiref xmlrpc zipapp zipfile
    zipimport zlib zoneinfo
"""
_PLAIN_MODULES = frozenset(_PLAIN_MODULE_NAMES.split())
"""Modules whose name is no word: they need no context. The others count only where the text says "module"."""
_SHORTEST_FUNCTION = 3  # "f(x)" is mathematics


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
        if self._is_exception(name, before, after):
            return EXCEPTION
        if self._is_type(name, before, after):
            return TYPE
        if self._is_function(name, before, after):
            return FUNCTION
        if self._is_module(name, before, after):
            return MODULE
        return None

    def _dotted(self, name: str, *, called: bool) -> str | None:
        owner, _, last = name.rpartition(".")
        in_class = f"{owner.rpartition('.')[2]}.{last}"
        public = owner in self.names.modules and not last.islower()  # packages hand out what their modules define
        if public and last in self.names.exceptions:
            return EXCEPTION
        if name in self.names.modules:
            return MODULE
        if name in self.names.inner or (public and last in self.names.classes):
            return TYPE
        if called or name in self.names.members or in_class in self.names.members:
            return FUNCTION
        return None

    def _is_exception(self, name: str, before: str, after: str) -> bool:
        if name not in self.names.exceptions or (name in _NOT_RAISED and after.startswith(":")):
            return False
        if name[0].isupper() and (name.endswith(("Error", "Exception", "Warning")) or _HUMPS.fullmatch(name)):
            return True
        return bool(_RAISED_BEFORE.search(before))

    def _is_type(self, name: str, before: str, after: str) -> bool:
        if name in _ALWAYS_TYPES:
            return True
        if name not in self.names.classes or name.isupper() or name in _NOT_TYPES:
            return False
        if _HUMPS.fullmatch(name):
            return True
        if name in _SOMETIMES_TYPES or _ONE_HUMP.fullmatch(name):
            return bool(_CALL.match(after) or _TYPE_AFTER.match(after) or _TYPE_BEFORE.search(before))
        return False

    def _is_function(self, name: str, before: str, after: str) -> bool:
        if name.startswith("__") and name.endswith("__") and name in self.names.functions:
            return True
        if len(name) < _SHORTEST_FUNCTION or name[0].isupper():
            return False
        if _CALL.match(after):
            return True
        if name not in self.names.functions or not (_FUNCTION_AFTER.match(after) or _FUNCTION_BEFORE.search(before)):
            return False
        # "the current method" is no method called `current`: without a call, a name must not look like a
        # word.
        return not name.islower() or "_" in name or before.endswith(("`", "'", '"'))

    def _is_module(self, name: str, before: str, after: str) -> bool:
        if name not in self.names.modules or name in _NOT_MODULES:
            return False
        if name in _PLAIN_MODULES:
            return True
        return bool(_MODULE_AFTER.match(after) or _MODULE_BEFORE.search(before))
