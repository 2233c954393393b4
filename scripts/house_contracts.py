"""import-linter's contracts for a package whose lazy tables name modules in strings.

`"lookalike.encoders.dinov2:load"` is an import like any other: it only comes later. A contract of a `named_` type adds
an arrow for each such string to the graph of imports before it is checked.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from grimp import ImportGraph
from importlinter.application import output
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.layers import LayersContract
from importlinter.domain.contract import Contract, ContractCheck

PACKAGE = Path(__file__).resolve().parents[1] / "lookalike"
NAME = re.compile(r"(lookalike(?:\.\w+)+)(?::\w+)?")


class NamedLayers(LayersContract):
    """Layers, with the modules that strings name."""

    type_name = "named_layers"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """As import-linter does."""
        add_named(graph)
        return super().check(graph, verbose)


class NamedAcyclicSiblings(AcyclicSiblingsContract):
    """Acyclic siblings, with the modules that strings name."""

    type_name = "named_acyclic_siblings"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """As import-linter does."""
        add_named(graph)
        return super().check(graph, verbose)


class NoCircles(Contract):
    """No file imports itself by way of others; a package's own file (`__init__`) is a file like any other."""

    type_name = "no_circles"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Every import from which a chain of imports leads back."""
        add_named(graph)
        imports = [(file, other) for file in graph.modules for other in graph.find_modules_directly_imported_by(file)]
        circles = [
            (file, other) for file, other in sorted(imports) if graph.chain_exists(importer=other, imported=file)
        ]
        return ContractCheck(kept=not circles, metadata={"circles": circles})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One import a line."""
        for file, other in check.metadata["circles"]:
            output.print_error(f"{file} -> {other}, from which imports lead back", bold=False)


def add_named(graph: ImportGraph) -> None:
    """Add an import for each string of the package that names one of its modules."""
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        importer = ".".join(parts).removesuffix(".__init__")
        for line, name in named(file.read_text(encoding="utf-8")):
            module = _module(name, graph)
            if module not in (importer, "lookalike"):
                graph.add_import(importer=importer, imported=module, line_number=line, line_contents=f'"{name}"')


def _module(name: str, graph: ImportGraph) -> str:
    """The longest part of a dotted name that is a module; the package's own name where none is."""
    while name not in graph.modules and "." in name:
        name = name.rpartition(".")[0]
    return name


def named(source: str) -> Iterator[tuple[int, str]]:
    """(line, module) of each string constant that is nothing but a module's name, alone or before a colon."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            whole = NAME.fullmatch(node.value)
            if whole:
                yield node.lineno, whole[1]
