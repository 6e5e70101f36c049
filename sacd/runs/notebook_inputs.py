"""What the execution of a notebook depends on: parameters, cells, imported code, files."""

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Union

from sacd.files import sha256
from sacd.runs.fingerprint import code_fingerprint, entries_of

_SCALARS: Final = {"int": int, "float": float, "str": str, "bool": bool}
_LISTS: Final = {"list[int]": list[int], "list[float]": list[float], "list[str]": list[str]}
_TYPES: Final = _SCALARS | _LISTS


class NotebookError(ValueError):
    """A notebook was refused or failed; the message is for the user."""


def read_notebook(path: Path) -> dict[str, Any]:
    """A notebook as nested dicts.

    Raises:
        NotebookError: the file is no notebook of format 4.
    """
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        whole = all("source" in cell and "metadata" in cell for cell in notebook["cells"])
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole or not isinstance(notebook.get("metadata"), dict):
        raise NotebookError(f"{path}: is not a notebook of format 4; save it again in JupyterLab")
    return notebook


def python_of(source: str) -> str:
    """A code cell as Python that `ast` parses: `!ls`, `%magic`, `a = !ls` and `a?` become calls.

    The body of a cell magic such as `%%time` follows its call where it is Python, so that the code
    which it uses counts as well.

    Raises:
        SyntaxError: the cell is no Python with IPython's additions.
    """
    if _parses(source):
        return source
    from IPython.core.inputtransformer2 import TransformerManager  # slow to import

    code = TransformerManager().transform_cell(source)
    ast.parse(code)
    _, _, body = source.lstrip().partition("\n")
    inner = source.lstrip().startswith("%%") and _parses(body)
    return f"{code}\n{body}" if inner else code


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError):  # a null byte is a ValueError
        return False
    return True


def parameters_of(source: Path) -> dict[str, tuple[Any, Any]]:
    """Type and default (`...` if none) of each parameter in the cell tagged `parameters`."""
    known: dict[str, tuple[Any, Any]] = {}
    cells = [
        c for c in read_notebook(source)["cells"] if "parameters" in c["metadata"].get("tags", [])
    ]
    where, form = f"{source}: parameters cell", "'name: type = value'"
    try:
        body = ast.parse("\n".join("".join(c["source"]) for c in cells)).body
    except (SyntaxError, ValueError) as error:
        raise NotebookError(f"{where}: {error}; write each as {form}") from None
    for node in body:
        text = ast.unparse(node)
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            raise NotebookError(f"{where}: {text!r} is not of the form {form}")
        names = [part.strip() for part in ast.unparse(node.annotation).split("|")]
        if unknown := [name for name in names if name not in (*_TYPES, "None")]:
            known_types = ", ".join(_TYPES)
            raise NotebookError(f"{where}: {text!r}: {unknown[0]} is not one of {known_types}")
        kind = Union[tuple(_TYPES.get(name) for name in names)]  # noqa: UP007 (built at run time)
        try:
            default = ast.literal_eval(node.value) if node.value else ...
        except ValueError:
            raise NotebookError(f"{where}: {text!r}: its value is not a literal") from None
        known[node.target.id] = (kind, default)
    return known


def check_parameters(source: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a notebook: `given` values and defaults, with their types checked.

    Raises:
        NotebookError: a name is unknown, or a value is missing or has another type; the message
            lists the known parameters.
    """
    from pydantic import TypeAdapter, ValidationError  # slow to import

    known = parameters_of(source)
    types = {name: getattr(kind, "__name__", str(kind)) for name, (kind, _) in known.items()}
    listing = ", ".join(
        f"{n}: {types[n]}" + ("" if d is ... else f" = {d!r}") for n, (_, d) in known.items()
    )

    def wrong(name: str, what: str) -> NotebookError:
        return NotebookError(f"{source}: parameter {name!r} {what}; known: {listing or 'none'}")

    if unknown := [name for name in given if name not in known]:
        raise wrong(unknown[0], "is unknown")
    values = {name: given.get(name, default) for name, (_, default) in known.items()}
    for name, value in values.items():
        if value is ...:
            raise wrong(name, "is missing")
        try:
            values[name] = TypeAdapter(known[name][0]).validate_python(value, strict=True)
        except ValidationError as error:
            raise wrong(name, f"= {value!r}: {error.errors()[0]['msg']}") from None
    return values


def key_of(source: Path, parameters: Mapping[str, Any], depends: Mapping[str, str]) -> str:
    """Hash of what an execution depends on: cells, parameters, code and tables, `depends`.

    Raises:
        NotebookError: a code cell is not valid; the message has its number.
    """
    cells = [
        (c["cell_type"], "".join(c["source"]), c["metadata"].get("tags", []))
        for c in read_notebook(source)["cells"]
    ]
    texts = [text for kind, text, _ in cells if kind == "code"]
    code = []
    for number, text in enumerate(texts, 1):
        try:
            code.append(python_of(text))
        except (SyntaxError, ValueError) as error:
            said = str(error).splitlines()[0]
            raise NotebookError(f"{source}: code cell {number}: {said}; correct it") from None
    entries = entries_of("\n".join(code))
    parts = [cells, sorted(parameters.items()), code_fingerprint(entries), sorted(depends.items())]
    beside = sorted(Path(__file__).parents[1].glob("*/*"))
    read = [path for path in beside if path.suffix in (".csv", ".mplstyle")]
    parts.append([sha256(path) for path in read])  # the paper's numbers and claims, the style
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def execution(copy: Path) -> tuple[dict[str, Any], bool]:
    """What an executed copy says of its execution, and whether the copy is as that left it.

    Nothing and False where there is no such copy.
    """
    try:
        notebook = read_notebook(copy)
    except (OSError, ValueError):
        return {}, False
    record = notebook["metadata"].get("sacd")
    if not isinstance(record, dict):
        return {}, False
    return record, record.get("content") == content_hash(notebook)


def is_current(output: Path, key: str, expects: Sequence[Path] = ()) -> bool:
    """Whether `output` was executed with this key, and it and its result files are unchanged."""
    record, unchanged = execution(output)
    if not unchanged or record.get("key") != key or not all(path.is_file() for path in expects):
        return False
    return record.get("results") == hashes_of(expects)


def content_hash(notebook: Mapping[str, Any]) -> str:
    """SHA-256 of an executed notebook, without the field that holds it: `metadata.sacd.content`."""
    metadata = dict(notebook["metadata"])
    metadata["sacd"] = {
        name: value for name, value in metadata.get("sacd", {}).items() if name != "content"
    }
    return hashlib.sha256(
        json.dumps({**notebook, "metadata": metadata}, sort_keys=True).encode()
    ).hexdigest()


def hashes_of(files: Sequence[Path]) -> dict[str, str]:
    """SHA-256, by folder and name, of files and of their siblings for the same item.

    Siblings of `a.csv` are `a.tex` and `a_b.md`, for example.
    """

    def item(path: Path) -> tuple[Path, str]:
        return path.parent, path.stem.partition("_")[0]

    items = {item(path) for path in files}
    found: set[Path] = set()
    for folder in {path.parent for path in files}:
        found |= {path for path in folder.iterdir() if item(path) in items and path.is_file()}
    return {f"{path.parent.name}/{path.name}": sha256(path) for path in sorted(found)}
