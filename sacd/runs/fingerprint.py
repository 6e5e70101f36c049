"""Which code a result depends on: the functions, classes and constants that its entry point reaches.

The parsed source is followed by name, not run: from a function to what it calls, across modules of
this package. What
cannot change a number leaves the hash: docstrings, comments, annotations, messages of errors and
logs, and all that is not reached, such as a colour beside the constant that is used. A file that
moves keeps the fingerprint of its content.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

_LEFT_OUT: Final = ("sacd.config", "sacd.cpu", "sacd.runs.fingerprint", "sacd.runs.provenance")
"""Settings, whose values are in a run's identity already, and modules that tell how numbers were made."""
_TALK: Final = ("log", "logging", "print", "progress", "warnings")
"""A statement that only calls one of these says something and computes nothing."""
_STATEMENTS: Final = "(statements)"
"""Name for a module's statements that define nothing, such as a setting of torch: they run when it is imported."""

Use = tuple[str, str]
"""Module, and a name in it; an empty name is the module itself, handed about: all that it defines."""


class _Definition(NamedTuple):
    code: str
    uses: tuple[Use, ...]


class _Module(NamedTuple):
    definitions: dict[str, _Definition]
    imports: dict[str, Use]


def code_fingerprint(entries: Iterable[str], without: Iterable[str] = ()) -> str:
    """16 hex digits over the definitions that entry points reach, wherever these stand.

    Args:
        entries: "module:name" of functions or classes, or "module" for all that it defines. What is
            imported by a string is not found: it has to be an entry itself.
        without: modules whose definitions are left out, though what these reach counts.

    Raises:
        ValueError: an entry does not exist.
    """
    left_out = tuple(f"{module}:" for module in without)
    hashes = [code for name, code in code_hashes(entries).items() if not name.startswith(left_out)]
    return hashlib.sha256(repr(sorted(hashes)).encode()).hexdigest()[:16]


def reader_fingerprint(entry: str) -> str:
    """`code_fingerprint` of what decides the bytes of a store that a function makes of a cohort's files.

    Left out is what decides none: files are written as they are given, and what is checked is
    refused or not.
    """
    return code_fingerprint([entry], without=("sacd.files", "sacd.workers", "sacd.data.check"))


def code_hashes(entries: Iterable[str]) -> dict[str, str]:
    """ "module:name" of each definition that is reached -> hash of its code."""
    waiting: list[Use] = [entry.partition(":")[::2] for entry in entries]
    ours = {"sacd"} | {module.partition(".")[0] for module, _ in waiting}
    for module, name in waiting:
        if source_file(module) is None or (name and not _lookup(module, name)):
            raise ValueError(
                f"{module}:{name} has no source; name an entry as 'package.module:name'"
            )
    reached: dict[str, str] = {}
    seen: set[Use] = set()
    while waiting:
        use = module, name = waiting.pop()
        if use in seen or module.partition(".")[0] not in ours or module in _LEFT_OUT:
            continue
        seen.add(use)
        if not name and source_file(module):
            waiting += [(module, other) for other in _module(module).definitions]
        elif isinstance(found := _lookup(module, name), _Definition):
            reached[f"{module}:{name}"] = found.code
            waiting += [*found.uses, (module, _STATEMENTS)]
        elif found:
            waiting.append(found)
    return reached


def entries_of(source: str) -> list[str]:
    """Entry points, as `code_fingerprint` takes them, of this package that a piece of source uses.

    >>> entries_of("from sacd.paper import printed; printed.load()")
    ['sacd.paper.printed:load']
    """
    tree = ast.parse(source)
    imports = dict(_imports(tree, ""))
    uses = dict.fromkeys(_uses(_Stripped().visit(tree), imports, "", ()))
    ours = [(module, name) for module, name in uses if module.partition(".")[0] == "sacd"]
    return [f"{module}:{name}".rstrip(":") for module, name in ours if source_file(module)]


@cache
def _top_level(name: str, places: tuple[str, ...]) -> Path | None:
    """`__init__.py` or module file of a top-level package, looked for in `places`, which are `sys.path`."""
    try:
        spec = find_spec(name)
    except ValueError:  # __main__ of a script
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def source_file(module: str) -> Path | None:
    """Source of a module, found without importing it (nor its parents); None where there is none."""
    top, *rest = module.split(".")
    file = _top_level(top, tuple(sys.path)) if top else None
    if file is None or not rest:
        return file
    path = file.parent.joinpath(*rest)
    candidates = (path / "__init__.py", path.with_name(path.name + ".py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _lookup(module: str, name: str) -> _Definition | Use | None:
    """What a name of a module is: a definition, a name of another module, or a module."""
    if source_file(module) is None:
        return None
    parsed = _module(module)
    if name in parsed.definitions:
        return parsed.definitions[name]
    if name in parsed.imports:
        return parsed.imports[name]
    return (f"{module}.{name}", "") if source_file(f"{module}.{name}") else None


def _module(name: str) -> _Module:
    path = source_file(name)
    stat = path.stat()
    return _parse(name, path, stat.st_mtime_ns, stat.st_size)


@cache
def _parse(module: str, path: Path, edited: int, size: int) -> _Module:
    """Definitions and imports of a source file; the last two arguments make the cache notice an edit."""
    tree = ast.parse(path.read_bytes(), str(path))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imports = dict(_imports(tree, package))
    parts: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _defined(statement):
            parts.setdefault(name, []).append(statement)
    definitions = {}
    for name, statements in parts.items():
        kept = [part for statement in statements if (part := _Stripped().visit(statement))]
        code = hashlib.sha256("".join(map(ast.dump, kept)).encode()).hexdigest()[:16]
        uses = dict.fromkeys(use for part in kept for use in _uses(part, imports, module, parts))
        definitions[name] = _Definition(code, tuple(uses))
    return _Module(definitions, imports)


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, Use]]:
    """Local name -> what an import statement binds it to; also of imports inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield alias.asname or top, (alias.name if alias.asname else top, "")
        elif isinstance(node, ast.ImportFrom):
            parents = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                yield alias.asname or alias.name, (origin, alias.name)


def _defined(statement: ast.stmt) -> set[str]:
    """Names that a statement of a module defines or changes; `_STATEMENTS` if it does something else."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
            return set()
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Compare(left=ast.Name(id="__name__"))):
            return set()
        case ast.AnnAssign(value=ast.Dict(values=values)) if values and all(map(_entry, values)):
            return set()  # names what else can be run; what a run uses is an entry point of its own
        case ast.If() | ast.Try() | ast.With() | ast.For():
            inner = [
                _defined(s) for s in ast.iter_child_nodes(statement) if isinstance(s, ast.stmt)
            ]
            return set().union(*inner)
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = getattr(statement, "targets", None) or [statement.target]
            names = {
                n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)
            }
            return names - {"__version__", "__all__"}
    return {_STATEMENTS}


def _entry(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value


def _uses(node: ast.AST, imports: dict[str, Use], module: str, own: Iterable[str]) -> Iterator[Use]:
    """What a piece of stripped source refers to outside itself."""
    chain: list[str] = []
    root = node
    while isinstance(root, ast.Attribute):
        chain.insert(0, root.attr)
        root = root.value
    if isinstance(root, ast.Name):
        if root.id in own:
            yield module, root.id
        elif root.id in imports:
            yield _resolved(*imports[root.id], chain)
        return
    for child in ast.iter_child_nodes(root if chain else node):
        yield from _uses(child, imports, module, own)


def _resolved(module: str, name: str, chain: list[str]) -> Use:
    """Follow attributes through modules: `runs.store.RunStore.open` ends at the class."""
    for attribute in chain:
        inner = f"{module}.{name}" if name else module
        if module.partition(".")[0] == "sacd" and name and not source_file(inner):
            break
        module, name = (inner, attribute) if name else (module, attribute)
    return module, name


class _Stripped(ast.NodeTransformer):
    """Takes out of a piece of source what cannot change a number."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        called = node.value.func if isinstance(node.value, ast.Call) else node.value
        while isinstance(called, ast.Attribute):
            called = called.value
        talk = isinstance(called, ast.Name) and called.id in _TALK
        return None if talk or isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Import(self, node: ast.AST) -> None:
        return None

    visit_ImportFrom = visit_Import

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        node.exc = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)
