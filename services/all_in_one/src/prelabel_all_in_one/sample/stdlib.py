"""What the standard library's own source files say: their docstrings, and the names that they define.

Files are parsed, never imported: a docstring is data, and importing `antigravity` opens a browser.
"""

import ast
import builtins
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from inspect import cleandoc
from pathlib import Path
from types import BuiltinFunctionType

_NOT_PROSE = frozenset(
    {
        "test",
        "tests",
        "idlelib",
        "lib2to3",
        "turtledemo",
        "pydoc_data",
        "ensurepip",
        "site-packages",
        "dist-packages",
    }
)
"""Folders without documentation worth labelling: test data, programs written in Python, other people's
packages."""

_EXCEPTION_ENDINGS = ("Error", "Exception", "Warning")

_Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class NoStandardLibrary(Exception):
    """This interpreter has no readable source files of the standard library (a zipped or stripped Python)."""


@dataclass(frozen=True, slots=True)
class Docstring:
    """One docstring, indentation cleaned. `name` is the qualified name in its module, empty for the
    module's own."""

    module: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Names:
    """Names that the standard library defines: simple ones, but `modules` also holds dotted ones.

    `members` holds "owner.name" for each function and `inner` for each class, the owner being the module
    (dotted) or the class (simple) that defines it.
    """

    modules: frozenset[str]
    classes: frozenset[str]
    exceptions: frozenset[str]
    functions: frozenset[str]
    members: frozenset[str]
    inner: frozenset[str]


@dataclass(frozen=True, slots=True)
class Library:
    """Everything that was read: docstrings in the order of the files, and the names defined anywhere in
    them."""

    docstrings: tuple[Docstring, ...]
    names: Names


def read_library(root: Path | None = None) -> Library:
    """Parse every source file under `root` (default: this interpreter's standard library), in the order of
    its paths.

    A file that this Python cannot parse is skipped: distributions ship templates with the ending `.py`.
    Raises NoStandardLibrary when no file could be read.
    """
    root = root or Path(sysconfig.get_paths()["stdlib"])
    found = _Found()
    for path in _sources(root):
        module = _module_name(path.relative_to(root))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in old sources are not this program's to report
            try:
                tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError, OSError, RecursionError):
                continue
        found.modules.add(module)
        found.visit(module, (), tree)
    if not found.docstrings:
        raise NoStandardLibrary(f"no docstrings under the standard library's folder of Python {sys.version.split()[0]}")
    return Library(tuple(found.docstrings), found.names())


def _sources(root: Path) -> Iterator[Path]:
    """Source files below `root` in a fixed order, without the folders that hold no documentation."""
    for path in sorted(root.iterdir()):
        if path.name in _NOT_PROSE or path.name.startswith((".", "__pycache__", "config-", "_sysconfigdata")):
            continue
        if path.is_dir():
            yield from _sources(path)
        elif path.suffix == ".py":
            yield path


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass(slots=True)
class _Found:
    """What has been seen so far, while files are walked."""

    docstrings: list[Docstring] = field(default_factory=list)
    modules: set[str] = field(default_factory=lambda: {"os.path", *sys.stdlib_module_names})
    bases: dict[str, set[str]] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    inner: set[str] = field(default_factory=set)

    def visit(self, module: str, scope: tuple[str, ...], node: _Scope) -> None:
        text = _docstring(node)
        if text:
            self.docstrings.append(Docstring(module, ".".join(scope), text))
        self._visit_body(module, scope, node.body)

    def _visit_body(self, module: str, scope: tuple[str, ...], body: Iterable[ast.stmt]) -> None:
        for node in body:
            match node:
                case ast.ClassDef():
                    self.inner.add(f"{scope[-1] if scope else module}.{node.name}")
                    self.bases.setdefault(node.name, set()).update(_simple_names(node.bases))
                    self.visit(module, (*scope, node.name), node)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self.functions.add(node.name)
                    self.members.add(f"{scope[-1] if scope else module}.{node.name}")
                    self.visit(module, (*scope, node.name), node)
                case ast.If() | ast.With():
                    self._visit_body(module, scope, node.body)
                    self._visit_body(module, scope, getattr(node, "orelse", ()))
                case ast.Try():
                    self._visit_body(module, scope, (*node.body, *node.orelse, *node.finalbody))
                    for handler in node.handlers:
                        self._visit_body(module, scope, handler.body)

    def names(self) -> Names:
        own = {name: value for name, value in vars(builtins).items() if not name.startswith("_")}
        types = {name for name, value in own.items() if isinstance(value, type)}
        exceptions = {name for name in types if issubclass(own[name], BaseException)}
        grew = True
        while grew:  # a class is an exception when one of its bases is, however long the chain
            more = {name for name, bases in self.bases.items() if name not in exceptions and bases & exceptions}
            exceptions |= more
            grew = bool(more)
        ending = {name for name in self.bases if name.endswith(_EXCEPTION_ENDINGS) and name[0].isupper()}
        exceptions |= ending
        classes = (types | self.bases.keys()) - exceptions
        functions = self.functions | {name for name, value in own.items() if callable(value) and name not in types}
        compiled = {f"{owner}.{name}" for owner, name in _compiled_functions()}
        return Names(
            modules=frozenset(self.modules),
            classes=frozenset(classes),
            exceptions=frozenset(exceptions),
            functions=frozenset(functions | {member.rpartition(".")[2] for member in compiled}),
            members=frozenset(self.members | compiled),
            inner=frozenset(self.inner),
        )


def _docstring(node: _Scope) -> str:
    match node.body:
        case [ast.Expr(value=ast.Constant(value=str(text))), *_]:
            return cleandoc(text)
    return ""


def _compiled_functions() -> Iterator[tuple[str, str]]:
    """Public functions of `sys` and `os` that are written in C: every Python has both loaded before its
    first line."""
    for owner, modules in (("sys", ("sys",)), ("os", ("posix", "nt"))):
        for module in filter(None, map(sys.modules.get, modules)):
            for name, value in vars(module).items():
                if isinstance(value, BuiltinFunctionType) and not name.startswith("_"):
                    yield owner, name


def _simple_names(nodes: Iterable[ast.expr]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
