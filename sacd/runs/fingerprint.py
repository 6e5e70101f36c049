"""Hash of the code that a result depends on: what its entry point reaches, and nothing else.

The source is parsed, not imported, and names are followed from a function to what it uses, across
the modules of this package. Only functions, classes and constants that are reached are hashed,
without what cannot change a number: docstrings, comments, annotations, error and log messages.
Moving a file does not change the fingerprint.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

_LEFT_OUT: Final = ("sacd.config", "sacd.cpu", "sacd.runs.fingerprint", "sacd.runs.provenance")
"""Settings, whose values are part of a run's identity, and modules that only record provenance."""
_MESSAGES: Final = ("log", "logging", "print", "progress", "warnings")
"""A statement that only calls one of these reports something and computes nothing."""
_STATEMENTS: Final = "(statements)"
"""Stands for module-level statements that define no name, such as a setting of torch."""

Use = tuple[str, str]
"""Module and a name in it; an empty name means the module object, and so all its definitions."""


class _Name(NamedTuple):
    """What a module-level name is bound to."""

    code: str
    """Hash of its definition; empty for an import."""
    uses: tuple[Use, ...]


NO_BYTES = ("sacd.files", "sacd.workers", "sacd.data.problems")
"""How files are written, processes are started and problems are told decides no number."""


def code_fingerprint(entries: Iterable[str], without: Iterable[str] = ()) -> str:
    """16 hex digits over all definitions that the entry points reach.

    Args:
        entries: "module:name" of functions or classes, or "module" for everything it defines.
            Imports by a string are not followed, so such a target must be an entry itself.
        without: modules whose definitions are not hashed, although their uses are followed.

    Raises:
        ValueError: an entry does not exist.
    """
    left_out = tuple(f"{module}:" for module in without)
    hashes = [code for name, code in code_hashes(entries).items() if not name.startswith(left_out)]
    return hashlib.sha256(repr(sorted(hashes)).encode()).hexdigest()[:16]


def reader_fingerprint(entry: str) -> str:
    """`code_fingerprint` of an ingest function: the code that decides the bytes of its store.

    Checking the input decides no bytes, so it is left out.
    """
    checks = [f"sacd.data.{name}" for name in ("check", "eeg_problems", "look", "offset", "twins")]
    return code_fingerprint([entry], without=(*NO_BYTES, *checks))


def code_hashes(entries: Iterable[str]) -> dict[str, str]:
    """Hash of the code of every definition that is reached, by its "module:name"."""
    waiting: list[Use] = [entry.partition(":")[::2] for entry in entries]
    ours = {"sacd"} | {module.partition(".")[0] for module, _ in waiting}
    # Without this check a misspelt entry would reach nothing, and no edit would change its hash.
    for module, name in waiting:
        if _lookup(module, name) is None:
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
        if found := _lookup(module, name):
            waiting += found.uses
            if found.code:
                reached[f"{module}:{name}"] = found.code
    return reached


def entries_of(source: str) -> list[str]:
    """Entry points, for `code_fingerprint`, of this package that a notebook's source uses.

    >>> entries_of("from sacd.paper import printed; printed.load()")
    ['sacd.paper.printed:load']
    """
    tree = ast.parse(source)
    imports = dict(_imports(tree, ""))
    _strip(tree)
    uses = dict.fromkeys(_uses(tree, imports, "", ()))
    ours = [(module, name) for module, name in uses if module.partition(".")[0] == "sacd"]
    return [f"{module}:{name}".rstrip(":") for module, name in ours if source_file(module)]


def source_file(module: str) -> Path | None:
    """Source of a module, found without importing it or its parents; None if there is none."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top) if top else None
    except ValueError:  # __main__ of a script
        return None
    if spec is None or not str(spec.origin).endswith(".py"):
        return None
    file = Path(spec.origin)
    if not rest:
        return file
    path = file.parent.joinpath(*rest)
    candidates = (path / "__init__.py", path.with_name(path.name + ".py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _lookup(module: str, name: str) -> _Name | None:
    """What a name in a module is bound to; None if there is no such module or name."""
    path = source_file(module)
    if path is None:
        return None
    stat = path.stat()
    names = _parse(module, path, stat.st_mtime_ns, stat.st_size)
    if not name:  # the module object gives access to all that it defines
        return _Name("", tuple((module, other) for other, bound in names.items() if bound.code))
    if name not in names and source_file(f"{module}.{name}"):
        return _Name("", ((f"{module}.{name}", ""),))
    return names.get(name)


@cache
def _parse(module: str, path: Path, edited: int, size: int) -> dict[str, _Name]:
    """Names of a file; `edited` and `size` make the cache notice an edit."""
    tree = ast.parse(path.read_bytes(), str(path))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imports = dict(_imports(tree, package))
    _strip(tree)
    parts: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _defined(statement):
            parts.setdefault(name, []).append(statement)
    names = {name: _Name("", (origin,)) for name, origin in imports.items()}
    for name, statements in parts.items():
        code = hashlib.sha256("".join(map(ast.dump, statements)).encode()).hexdigest()[:16]
        # Statements without a name act on the whole module: whoever uses it depends on them.
        uses: dict[Use, None] = {(module, _STATEMENTS): None}
        for statement in statements:
            uses |= dict.fromkeys(_uses(statement, imports, module, parts))
        names[name] = _Name(code, tuple(uses))
    return names


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, Use]]:
    """Local names with what imports bind them to, including imports inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield alias.asname or top, (alias.name if alias.asname else top, "")
        elif isinstance(node, ast.ImportFrom):
            # `from ..x import y` goes up `level` - 1 packages.
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield alias.asname or alias.name, (origin, alias.name)


def _defined(statement: ast.stmt) -> set[str]:
    """Names that a module-level statement defines or changes."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        # Neither is executed where a run imports the module.
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Compare(left=ast.Name(id="__name__"))):
            return set()
        case ast.AnnAssign(value=ast.Dict(values=values)) if values and all(map(_entry, values)):
            return set()  # a registry such as METHODS: a run names the entry that it uses
        case ast.If() | ast.Try() | ast.With() | ast.For():
            inner = (s for s in ast.iter_child_nodes(statement) if isinstance(s, ast.stmt))
            return set().union(*map(_defined, inner))
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = getattr(statement, "targets", None) or [statement.target]
            nodes = (node for target in targets for node in ast.walk(target))
            names = {node.id for node in nodes if isinstance(node, ast.Name)}
            return names - {"__version__", "__all__"}
    return {_STATEMENTS}


def _entry(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value


def _chain(node: ast.AST) -> tuple[ast.AST, list[str]]:
    """`root.a.b` as its root and the names of its attributes."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return node, names


def _uses(node: ast.AST, imports: dict[str, Use], module: str, own: Iterable[str]) -> Iterator[Use]:
    """What a piece of stripped source refers to outside itself."""
    root, attributes = _chain(node)
    if isinstance(root, ast.Name):
        if root.id in own:
            yield module, root.id
        elif root.id in imports:
            yield _resolved(*imports[root.id], attributes)
        return
    for child in ast.iter_child_nodes(root):
        yield from _uses(child, imports, module, own)


def _resolved(module: str, name: str, chain: list[str]) -> Use:
    """Follow attributes through modules: `runs.store.RunStore.open` ends at the class."""
    for attribute in chain:
        inner = f"{module}.{name}" if name else module
        if module.partition(".")[0] == "sacd" and name and not source_file(inner):
            break
        module, name = (inner, attribute) if name else (module, attribute)
    return module, name


def _strip(tree: ast.AST) -> None:
    """Remove from a syntax tree what cannot change a number."""
    for node in ast.walk(tree):
        match node:
            case ast.Raise(exc=ast.Call(func=error)):
                node.exc = error  # the type counts, the message does not
            case ast.Assert():
                node.msg = None
            case ast.FunctionDef():
                node.returns = None
            case ast.arg() | ast.AnnAssign():
                node.annotation = None
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                setattr(node, block, [s for s in statements if not _computes_nothing(s)])


def _computes_nothing(statement: ast.stmt) -> bool:
    """Whether a statement is an import (its uses are what counts), a docstring or a message."""
    if not isinstance(statement, ast.Expr):
        return isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass)
    value = statement.value
    root, _ = _chain(value.func if isinstance(value, ast.Call) else value)
    message = isinstance(root, ast.Name) and root.id in _MESSAGES
    return message or isinstance(value, ast.Constant)
