"""What a passage is about: known from its module, and guessed from its words by rules.

The table is the answer key, the rules are the guesser: the rules never see the module's name.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TypedDict

_MODULES_BY_AREA = {
    "networking": """
        socket ssl socketserver http urllib email smtplib smtpd ftplib imaplib poplib nntplib telnetlib
        xmlrpc wsgiref ipaddress cgi cgitb mailbox mailcap asyncore asynchat netrc select nturl2path
    """,
    "concurrency": """
        asyncio threading _threading_local multiprocessing concurrent subprocess queue selectors sched
        signal contextvars _pyrepl
    """,
    "files": """
        os shutil pathlib tempfile glob fnmatch zipfile tarfile gzip bz2 lzma io _pyio fileinput
        genericpath posixpath ntpath stat filecmp zipimport mimetypes _compression compression linecache
        aifc wave sunau chunk sndhdr imghdr xdrlib uu binhex
    """,
    "text": """
        string re sre_compile sre_parse difflib textwrap codecs encodings html gettext locale stringprep
        pprint _strptime reprlib quopri base64 shlex unicodedata _markupbase
    """,
    "data": """
        json csv sqlite3 pickle pickletools shelve dbm xml collections _collections_abc heapq bisect
        dataclasses enum copy copyreg configparser array graphlib weakref _weakrefset plistlib tomllib
        struct uuid types
    """,
    "numbers": """
        decimal _pydecimal fractions statistics random numbers datetime _pydatetime calendar zoneinfo
        colorsys hashlib hmac secrets crypt _pylong
    """,
    "interface": """
        tkinter turtle curses cmd argparse optparse getopt getpass webbrowser rlcompleter
    """,
    "language": """
        ast inspect typing importlib _py_abc abc dis opcode tokenize token symtable compileall
        py_compile pkgutil pydoc code codeop functools operator contextlib keyword runpy imp
        modulefinder ctypes site sysconfig annotationlib _sitebuiltins _bootsubprocess
    """,
    "tools": """
        unittest doctest pdb bdb trace traceback profile cProfile pstats timeit logging warnings
        distutils venv tracemalloc platform zipapp pyclbr tabnanny pipes
    """,
}

OTHER = "other"

_AREA_OF = {module: area for area, modules in _MODULES_BY_AREA.items() for module in modules.split()}

AREAS = (*_MODULES_BY_AREA, OTHER)
"""Every area, in the order in which they are shown."""

_WORD = re.compile(r"\w+")
_BANDS = (0.6, 0.45, 0.35, 0.25, 0.18)
"""Lower bounds of how often a word's hint is right; below the last one it is none."""

_WORDS_BY_AREA = {
    "networking": """
        socket sockets server servers http https url urls email mail mailbox host hostname port address
        addresses network ip ipv4 ipv6 header headers request response proxy ssl tls certificate smtp
        ftp imap cookie cookies client message messages mime recipient login dns
    """,
    "concurrency": """
        thread threads threading process processes lock locks semaphore event coroutine coroutines task
        tasks asyncio executor worker workers future futures queue queues loop concurrent async await
        child subprocess pool timeout transport barrier cancelled callback callbacks
    """,
    "files": """
        file files filename filenames directory directories path paths folder archive archives zip tar
        symlink symlinks disk filesystem gzip stream seek buffer rename temporary permission bits
        fileobj inode
    """,
    "text": """
        string strings text characters character unicode regex regular pattern encoding encode decode
        encoded substring whitespace html locale diff lines word words alphabet codec utf ascii
        sequences
    """,
    "data": """
        json csv xml element elements dictionary dict key keys database sql pickle mapping sequence
        container node nodes attribute attributes enum member members section option heap sorted deque
        items serialized dataclass field fields document dom parser
    """,
    "numbers": """
        number numbers decimal integer float random date time datetime mean median variance digits
        exponent rounding rounded nan infinity infinite distribution timezone hash digest calendar month
        year week fraction precision sum probability operand signed
    """,
    "interface": """
        widget widgets window windows button canvas menu turtle screen command commandline arguments
        argument option options prompt terminal cursor keyboard mouse color pen browser dialog tag pixel
        coordinates font
    """,
    "language": """
        module modules package class classes function functions method methods decorator annotation
        annotations type types generic import imported importer loader source code bytecode syntax
        signature docstring callable object abstract parameter token tokens finder spec namespace
    """,
    "tools": """
        test tests testing debugger breakpoint log logger logging handler handlers level warning
        warnings traceback stack frame profile assertion assert build install compiler mock failure
        failures skip distribution example examples version platform
    """,
}


def area_of(module: str) -> str:
    """The area of a module, by its first name; `other` for one that the table does not know."""
    return _AREA_OF.get(module.partition(".")[0], OTHER)


class AreaRule(TypedDict("AreaRule", {"as": str})):
    """One rule in the provider's own form."""

    label: str
    words: list[str]
    ignore_case: bool
    score: float


def area_rules(examples: Iterable[tuple[str, str]]) -> dict[str, list[AreaRule]]:
    """Settings for the `rules` provider that guess a text's area from its words, the surest rules first.

    A person wrote which words hint at which area; how often a hint is right is counted on `examples`, pairs
    of text and module. What counts is in how many modules that use a word it is right: one long module must
    not decide. Words of one area that are about equally sure make one rule, whose score (0 to 1) is that
    measured share, shrunk where few modules say anything. Words that were met too seldom to tell, or that
    mislead, make none.
    """
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for text, module in examples:
        for word in _WORD.findall(text.lower()):
            homes[word].add(module)
    bands: dict[tuple[float, str], list[str]] = {}
    for area, hints in _WORDS_BY_AREA.items():
        for word in hints.split():
            share = _share(homes[word], area)
            band = next((floor for floor in _BANDS if share >= floor), None)
            if band is not None:
                bands.setdefault((band, area), []).append(word)
    rules: list[AreaRule] = []
    for (_, area), words in bands.items():
        score = sum(_share(homes[word], area) for word in words) / len(words)
        rules.append({"label": area, "words": words, "as": "choice", "ignore_case": True, "score": round(score, 3)})
    return {"rules": sorted(rules, key=lambda rule: (-rule["score"], rule["label"]))}


def _share(modules: Iterable[str], area: str) -> float:
    """How many of the modules belong to the area, as if one more did not and none was sure."""
    answers = [area_of(module) == area for module in modules]
    return sum(answers) / (len(answers) + 1.5)
