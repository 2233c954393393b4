"""The command line and the OpenAPI document to docs/reference/cli.md and docs/reference/http.md.

python scripts/reference.py            writes both pages
python scripts/reference.py --check    changes nothing; status 1 where a page is not what would be written
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
WRITTEN = "<!-- Written by scripts/reference.py; do not edit. -->"
Schema = Mapping[str, Any]
REFUSAL = "[ErrorAnswer](#erroranswer)"


def cell(text: object) -> str:
    """Text inside a table: one line, without what Markdown would take for a column or a tag."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: object) -> str:
    """The same, verbatim."""
    return f"`{' '.join(str(text).split())}`".replace("|", "\\|")


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The lines of a Markdown table, and an empty one; nothing where it has no rows."""
    listed = [list(row) for row in rows]
    if listed:
        names = list(heads)
        yield f"| {' | '.join(names)} |"
        yield f"|{'---|' * len(names)}"
        yield from (f"| {' | '.join(row)} |" for row in listed)
        yield ""


def cli_page() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    from lookalike.cli import app

    group: Any = typer.main.get_command(app)
    lines = [
        "# Command line", "", WRITTEN, "",
        "Results go to stdout, progress and warnings to stderr. `--debug` before or after any command shows the",
        "traceback of an error. [Exit statuses](../settings.md#exit-statuses) are the same for all commands.", "",
    ]  # fmt: skip
    by_panel: dict[str, list[Any]] = {}
    for command in group.commands.values():
        panel = getattr(command, "rich_help_panel", None)
        by_panel.setdefault(panel if isinstance(panel, str) else "Commands", []).append(command)
    for panel, commands in by_panel.items():
        rows = [(f"[`{each.name}`](#{anchor(each.name)})", cell(first_line(each.help))) for each in commands]
        lines += table((panel, ""), rows)
    context = typer.Context(group, info_name="lookalike")
    for command in sorted(group.commands.values(), key=lambda each: each.name):
        lines += described(command, context, 2)
    return "\n".join(lines).rstrip() + "\n"


def anchor(name: str) -> str:
    """The anchor of a command's heading."""
    return f"lookalike-{name}"


def first_line(text: str | None) -> str:
    """The first sentence of a help text."""
    return re.split(r"(?<=[.:]) |\n\n", text or "")[0].rstrip(".:")


def described(command: Any, above: Any, level: int) -> Iterator[str]:
    """A command as a section, with those of its own below it."""
    context = type(above)(command, parent=above, info_name=command.name)
    yield from (f"{'#' * level} {context.command_path}", "")
    yield from (paragraph(part) for part in (command.help or "").split("\n\n") for paragraph in (cell, lambda _: ""))
    usage = " ".join(re.sub(r"[{}]", "", piece) for piece in command.collect_usage_pieces(context))
    yield from ("```text", f"{context.command_path} {usage}", "```", "")
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    yield from table(("", ""), ((code(name), cell(text)) for name, text in filter(None, records)))
    if command.epilog:
        example = command.epilog.removeprefix("Example: ")
        yield from ("Example:", "", "```console", f"$ {example}", "```", "")
    for inner in getattr(command, "commands", {}).values():
        yield from described(inner, context, level + 1)


def http_page() -> str:
    """Every route with its parameters, bodies and answers, from the OpenAPI document."""
    document = openapi()
    lines = [
        "# HTTP", "", WRITTEN, "",
        "The same as a machine reads it is at `/openapi.json` of a running service. [The service](../http.md) says",
        "what the options mean, how requests are authenticated, what the limits are, and what each status says.", "",
    ]  # fmt: skip
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += routed(method, path, operation)
    lines += ["## Bodies", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += [f"### {name}", "", *(part + "\n" for part in [cell(schema.get("description", ""))] if part)]
        lines += fields(schema)
    return "\n".join(lines).rstrip() + "\n"


def openapi() -> dict[str, Any]:
    """The OpenAPI document of a service; no collection is needed for it."""
    from lookalike.collection.collection import Collection
    from lookalike.service.app import create_app

    with tempfile.TemporaryDirectory() as folder, Collection(Path(folder) / "none") as collection:
        document: dict[str, Any] = create_app(collection).openapi()
    return document


def routed(method: str, path: str, operation: Schema) -> Iterator[str]:
    """A route as a section."""
    yield from (f"## {method.upper()} {path}", "")
    for part in operation.get("description", "").split("\n\n"):
        yield from (cell(part), "")
    rows = [
        (code(given["name"]), given["in"], kind(given["schema"]), cell(given.get("description", "")))
        for given in operation.get("parameters", [])
    ]
    yield from table(("parameter", "in", "type", ""), rows)
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content.get("schema", {})
        yield from (f"Body, `{media}`{f': {kind(schema)}' if '$ref' in schema else ''}", "")
        yield from fields(schema)
    answers = operation["responses"]
    refusals = [status for status, answer in answers.items() if answered(answer) == REFUSAL]
    listed = [each for each in answers if each not in refusals]
    yield from table(
        ("status", "answer", ""),
        ((status, answered(answers[status]), cell(answers[status]["description"])) for status in listed),
    )
    if refusals:
        yield from (f"Refused as {REFUSAL}: {', '.join(refusals)}.", "")


def answered(answer: Schema) -> str:
    """What the body of an answer is."""
    kinds = [
        kind(content["schema"]) if content.get("schema") else code(media)
        for media, content in answer.get("content", {}).items()
    ]
    return ", ".join(kinds)


def fields(schema: Schema) -> Iterator[str]:
    """The fields of an object as a table."""
    required = schema.get("required", ())
    rows = [
        (code(name) + (" (required)" if name in required else ""), kind(field), cell(said(field)))
        for name, field in schema.get("properties", {}).items()
    ]
    return table(("field", "type", ""), rows)


LIMITS = {"minimum": "at least", "maximum": "at most", "maxItems": "at most, in number", "maxLength": "letters at most"}


def said(field: Schema) -> str:
    """What a field means, with its default and the limits of its numbers."""
    parts = [str(field.get("description", "")).rstrip(".")]
    inner = [field, *field.get("anyOf", ())]
    parts += [f"{word} {each[name]:g}" for each in inner for name, word in LIMITS.items() if name in each]
    if field.get("default") not in (None, "", [], {}):
        parts.append(f"default {field['default']}".replace("True", "true").replace("False", "false"))
    return "; ".join(part for part in parts if part)


def kind(schema: Schema) -> str:
    """The type of a value, with links to the bodies that have a section."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if any_of := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(kind(each) for each in any_of))
    if "enum" in schema or "const" in schema:
        return ", ".join(code(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {kind(schema['items'])}" if "items" in schema else "list"
    return str(schema.get("format") or schema.get("type", "any"))


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli_page, "http.md": http_page}


def main() -> int:
    """Write or check the pages; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, and exit with 1 where a page is old")
    is_check = parser.parse_args().check
    old = []
    for name, write in PAGES.items():
        path, text = FOLDER / name, write()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            old.append(path.relative_to(ROOT).as_posix())
            if not is_check:
                path.write_text(text, encoding="utf-8")
    if is_check and old:
        print(f"{', '.join(old)}: not what is there now; run python scripts/reference.py", file=sys.stderr)
    return int(is_check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
