"""Commands that measure: evaluate, compare, grid, demo."""

from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.app import AsJson, EncoderName, app
from lookalike.cli.output import note, print_json

Dataset = Annotated[
    str, typer.Argument(metavar="DATASET", help="oxford5k, paris6k, roxford5k, rparis6k, vgg, folders or pairs.")
]
Root = Annotated[Path | None, typer.Option("--root", metavar="DIR", help="The folder that the data set lies in.")]
Distractors = Annotated[
    list[Path] | None, typer.Option("--distractors", metavar="FOLDER", help="More images to search; may be repeated.")
]
Ks = Annotated[str | None, typer.Option("-k", metavar="K,K,...", help="Where lists are cut, such as 5,10,15,20.")]
ProtocolName = Annotated[
    str | None, typer.Option("--protocol", metavar="NAME", help="original, revisited, report or landmarks.")
]
Uncropped = Annotated[bool, typer.Option("--uncropped", help="Ask with whole photos, not with their boxes.")]
Rerank = Annotated[
    list[str] | None, typer.Option("--rerank", metavar="SPEC", help="Such as alpha-qe,k=10; may be repeated.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write report.json, .md and .html here.")]


def ks(text: str | None) -> list[int] | None:
    """5,10,15,20 as numbers."""
    if text is None:
        return None
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = [0]
    if min(found) < 1:
        raise typer.BadParameter(f"-k {text}: positive whole numbers are wanted, such as 5,10,15,20")
    return found


@app.command(epilog="Example: lookalike evaluate vgg --root ~/paris -k 5,10,20")
def evaluate(
    dataset: Dataset,
    root: Root = None,
    encoder: EncoderName = None,
    k: Ks = None,
    protocol: ProtocolName = None,
    uncropped: Uncropped = False,
    distractors: Distractors = None,
    rerank: Rerank = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Replay the report, then mend its faults one at a time.")
    ] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch the data set from its home first.")] = False,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Measure an encoder on a benchmark: mAP, mAP@k, P@k and more, by the protocol that the field uses."""
    from lookalike.collection import DEFAULT_ENCODER
    from lookalike.evaluation.replay import explain as replay
    from lookalike.evaluation.run import evaluate as measure
    from lookalike.progress import shown

    name, wanted = encoder or DEFAULT_ENCODER, ks(k)
    if explain and protocol not in (None, "report"):
        raise typer.BadParameter(f"--explain replays the report's protocol; it does not go with --protocol {protocol}")
    if download:
        root = _download(dataset, root)
    with shown("images") as progress:
        if explain:
            explanation = replay(dataset, root, name, wanted, uncropped, progress=progress)
        else:
            report = measure(
                dataset, root, name, protocol, wanted, uncropped, distractors or (), rerank or (), progress=progress
            )
    if explain:
        print_json(explanation.to_json()) if as_json else print(explanation.text())
        return
    if out:
        for path in report.save(out):
            note(f"wrote {path}")
    print_json(report.to_json()) if as_json else print(report.text())


def _download(dataset: str, root: Path | None) -> Path:
    from lookalike.datasets.download import download
    from lookalike.progress import shown

    with shown("bytes") as progress:
        return download(dataset, root, progress)


@app.command(epilog="Example: lookalike compare plain/report.json reranked/report.json")
def compare(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="A report.json of `lookalike evaluate --out`.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another one of the same queries.")],
    as_json: AsJson = False,
) -> None:
    """Compare two reports query by query, with a bootstrap interval: is B better, or is it noise?"""
    from lookalike.evaluation.compare import compare as paired

    found = paired(a, b)
    print_json(found.to_json()) if as_json else print(found.text())


@app.command(epilog="Example: lookalike demo ~/Pictures")
def demo(
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER", help="Your photos; else a made-up town.")] = None,
    encoder: EncoderName = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything is written.")] = Path(
        "lookalike-demo"
    ),
) -> None:
    """Run the whole job: index, evaluate, print the table, and write a page of queries and their results."""
    from lookalike import demo as demos
    from lookalike.progress import shown

    chosen, why = demos.choose_encoder(encoder)
    note(why)
    with shown("images") as progress:
        made = demos.own_photos(folder, out, chosen, progress) if folder else demos.made_up(out, chosen, progress)
    print(made.text)
    print(f"\npage: {made.page.resolve()}")
