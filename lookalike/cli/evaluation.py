"""Commands that measure: evaluate, compare, grid, demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli import completion
from lookalike.cli.app import AsJson, Device, EncoderName, app
from lookalike.cli.output import check_files, check_folder, note, print_json, say
from lookalike.errors import LookalikeError

if TYPE_CHECKING:
    from lookalike.evaluation.report import Report

DATASETS_HELP = "oxford5k, paris6k, roxford5k, rparis6k, revisited, vgg, copies, ilias, folders or pairs"
Dataset = Annotated[str, typer.Argument(metavar="DATASET", help=f"{DATASETS_HELP}.")]
Root = Annotated[Path | None, typer.Option("--root", metavar="DIR", help="The folder that the data set lies in.")]
Distractors = Annotated[
    list[Path] | None, typer.Option("--distractors", metavar="FOLDER", help="More images to search; may be repeated.")
]
Ks = Annotated[str | None, typer.Option("-k", metavar="K,K,...", help="Where lists are cut, such as 5,10,15,20.")]
ProtocolName = Annotated[
    str | None,
    typer.Option("--protocol", metavar="NAME", help="original, revisited, landmarks, copies, ilias or report."),
]
Uncropped = Annotated[bool, typer.Option("--uncropped", help="Ask with whole photos, not with their boxes.")]
Rerank = Annotated[
    list[str] | None,
    typer.Option(
        "--rerank",
        metavar="SPEC",
        help="Such as alpha-qe,k=10; may be repeated.",
        autocompletion=completion.rerankers,
    ),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write report.json, .md and .html here.")]


def ks(text: str | None) -> list[int] | None:
    """5,10,15,20 as numbers."""
    if text is None:
        return None
    try:
        cuts = [int(part) for part in text.split(",")]
    except ValueError:
        cuts = [0]
    if min(cuts) < 1:
        raise typer.BadParameter(f"-k {text}: positive whole numbers are wanted, such as 5,10,15,20")
    return cuts


@app.command(epilog="Example: lookalike evaluate vgg --root ~/paris -k 5,10,20")
def evaluate(
    dataset: Annotated[
        str | None, typer.Argument(metavar="DATASET", help=f"{DATASETS_HELP}; or run, to score a FILE made elsewhere.")
    ] = None,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="After run: rankings in TREC's layout, of any program.")
    ] = None,
    root: Root = None,
    encoder: EncoderName = None,
    k: Ks = None,
    protocol: ProtocolName = None,
    uncropped: Uncropped = False,
    distractors: Distractors = None,
    rerank: Rerank = None,
    run: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rankings here, as a TREC run.")] = None,
    qrels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the ground truth here, as TREC qrels; after run, read it."),
    ] = None,
    junk: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same for junk, which qrels have no way to say.")
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option(metavar="report.json", help="Measure as for this report (--root, --encoder may replace its own)."),
    ] = None,
    similarities: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the best 1,000 of each query here, as JSON for ILIAS' script."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Replay an earlier report (docs/report.md), then mend its faults one by one."),
    ] = False,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Measure how far confidences can be believed, too.")
    ] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch the data set from its home first.")] = False,
    device: Device = None,
    engine: Annotated[
        str | None, typer.Option(metavar="URI", help="Search in a server: milvus://HOST/NAME, postgresql://HOST/DB.")
    ] = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Measure an encoder on a benchmark: mAP, mAP@k, P@k and more, by the protocol that the field uses."""
    from lookalike.evaluation.page import save_report
    from lookalike.evaluation.replay import FaultExplanation
    from lookalike.evaluation.replay import explain as replay
    from lookalike.evaluation.run import evaluate as measure
    from lookalike.evaluation.trec import TrecFiles
    from lookalike.search.rerank import parse
    from lookalike.utils.progress import shown

    check_folder(out)
    check_files(run, None if dataset == "run" else qrels, None if dataset == "run" else junk, similarities)
    decided = (uncropped, distractors, rerank, run, explain, download, device, calibration, similarities)
    if again:
        _measure_again(again, root, encoder, engine, as_json, out, dataset, file, k, protocol, qrels, junk, *decided)
        return
    if dataset is None:
        raise typer.BadParameter(f"a DATASET is missing: {DATASETS_HELP}, or run")
    if dataset == "run":
        _refuse_beside_run(root, encoder, engine, *decided)
        _show(_score_run(file, qrels, junk, protocol, ks(k)), as_json, out)
        return
    if file is not None:
        raise typer.BadParameter(f"{file}: a file is read after `run` only; a data set is in the folder of --root")
    files = TrecFiles(run, qrels, junk, similarities)
    if explain and (protocol not in (None, "report") or rerank or engine or calibration or files != TrecFiles()):
        raise typer.BadParameter(
            "--explain replays the report's protocol; it takes no other --protocol, no --rerank, no --engine, no "
            "--calibration, and writes no --run, --qrels, --junk or --similarities"
        )
    for spec in rerank or ():
        parse(spec)
    place = _root(dataset, root, download)
    name, cuts, more = _encoder(encoder, device), ks(k), distractors or ()
    explanation: FaultExplanation | None = None
    report: Report | None = None
    with shown("images") as progress:
        if explain:
            explanation = replay(dataset, place, name, cuts, uncropped, more, progress=progress)
        if out or not explain:
            report = measure(
                dataset,
                place,
                name,
                protocol,
                cuts,
                uncropped,
                more,
                rerank or (),
                progress=progress,
                engine=engine,
                calibration=calibration,
                files=files,
            )
    for path in (run, qrels, junk, similarities):
        if path:
            note(f"wrote {path}")
    if out and report:
        for path in [*(explanation.save(out) if explanation else ()), *save_report(report, out)]:
            note(f"wrote {path}")
    result = explanation or report
    assert result is not None
    print_json(result.to_json()) if as_json else say(result.text())


def _encoder(name: str | None, device: str | None) -> str | None:
    """What is measured. Which one is the default is decided, by fetching it, once the data set has been read."""
    from lookalike.encoders import with_options

    if name is None:
        return f"@device={device}" if device else None
    return with_options(name, device=device)


def _measure_again(
    file: Path,
    root: Path | None,
    encoder: str | None,
    engine: str | None,
    as_json: bool,
    out: Path | None,
    *options: object,
) -> None:
    """`options` are those that the report decides."""
    from lookalike.evaluation.again import again
    from lookalike.evaluation.page import save_report
    from lookalike.evaluation.provenance import EvaluationOptions
    from lookalike.utils.progress import shown

    if any(options):
        raise typer.BadParameter(
            "--again takes --root, --encoder, --engine, --json and --out; the report decides the rest"
        )
    given = EvaluationOptions(root=str(root.resolve()) if root else None, encoder=encoder, engine=engine)
    with shown("images") as progress:
        repetition = again(file, given, progress=progress)
    for path in save_report(repetition.report, out) if out else ():
        note(f"wrote {path}")
    print_json(repetition.to_json()) if as_json else say(repetition.text())


def _refuse_beside_run(*options: object) -> None:
    if any(options):
        raise typer.BadParameter("`evaluate run FILE` takes --qrels, --junk, --protocol, -k, --json and --out, no more")


def _score_run(
    file: Path | None, qrels: Path | None, junk: Path | None, protocol: str | None, cuts: list[int] | None
) -> "Report":
    from lookalike.evaluation.trec import evaluate_run

    if file is None or qrels is None:
        raise typer.BadParameter("`evaluate run FILE --qrels QRELS` scores a run; both are needed")
    return evaluate_run(file, qrels, junk, protocol, cuts)


def _show(report: "Report", as_json: bool, out: Path | None) -> None:
    """Print a report, and write it where `out` says so."""
    from lookalike.evaluation.page import save_report

    for path in save_report(report, out) if out else ():
        note(f"wrote {path}")
    print_json(report.to_json()) if as_json else say(report.text())


def _root(dataset: str, root: Path | None, download: bool = False) -> Path:
    """The folder of a data set: --root, or the cache, where --download puts it."""
    from lookalike.errors import EvaluationError
    from lookalike.evaluation.datasets import DATASETS
    from lookalike.evaluation.datasets.download import HOMES
    from lookalike.utils.paths import cache_dir
    from lookalike.utils.text import meant

    if dataset not in DATASETS:
        raise EvaluationError(f"{dataset}: no such data set{meant(dataset, DATASETS)}; there are {', '.join(DATASETS)}")
    place = root or cache_dir("datasets", dataset)
    if download:
        from lookalike.evaluation.datasets.download import download as fetch
        from lookalike.utils.progress import shown

        with shown("bytes") as progress:
            return fetch(dataset, place, progress)
    if root is None and not place.is_dir():
        ways = "--root DIR names its folder" + (", --download fetches it" if dataset in HOMES else "")
        raise EvaluationError(f"{dataset} is not here: {ways}")
    return place


@app.command(epilog="Example: lookalike compare plain/report.json reranked/report.json")
def compare(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="A report.json of `lookalike evaluate --out`.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another one of the same queries.")],
    as_json: AsJson = False,
) -> None:
    """Compare two reports query by query, with a bootstrap interval: is B better, or is it noise?"""
    from lookalike.evaluation.compare import compare as paired

    comparison = paired(a, b)
    print_json(comparison.to_json()) if as_json else say(comparison.text())


Several = Annotated[list[str] | None, typer.Option(metavar="A B ...", help="One or more; see `lookalike encoders`.")]


@app.command(epilog="Example: lookalike grid vgg --root ~/paris --rerank none alpha-qe")
def grid(
    dataset: Dataset,
    root: Root = None,
    encoder: Several = None,
    pooling: Several = None,
    preprocess: Several = None,
    precision: Several = None,
    rerank: Annotated[
        list[str] | None, typer.Option(metavar="A B ...", help="Such as none alpha-qe,k=10 spatial,top=100.")
    ] = None,
    k: Ks = None,
    protocol: ProtocolName = None,
    uncropped: Uncropped = False,
    distractors: Distractors = None,
    as_json: AsJson = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="One report a combination is kept here.")] = Path(
        "lookalike-grid"
    ),
) -> None:
    """Measure every combination, cheapest and best marked. What was measured is kept, so it may be interrupted."""
    from lookalike.evaluation.datasets import load
    from lookalike.evaluation.grid import Combinations, Setting
    from lookalike.evaluation.grid import grid as measure
    from lookalike.utils.progress import shown

    cuts = ks(k)
    check_folder(out)
    options = {"pooling": pooling or [], "preprocess": preprocess or [], "precision": precision or []}
    with shown("images") as progress:
        table = measure(
            load(dataset, _root(dataset, root), distractors or ()),
            Combinations(encoder or (), options, rerank or ()),
            Setting(protocol, tuple(cuts) if cuts else None, uncropped),
            out=out,
            progress=progress,
            tell=note,
        )
    print_json(table.to_json()) if as_json else say(table.text())


GRID_LISTS = ("--encoder", "--pooling", "--preprocess", "--precision", "--rerank", "--distractors")


def spread(arguments: list[str]) -> list[str]:
    """`grid … --encoder A B` as `--encoder A --encoder B`, which is all that the parser knows."""
    if arguments[:1] != ["grid"]:
        return arguments
    result: list[str] = []
    current = ""
    for argument in arguments:
        if argument.startswith("-"):
            current = argument if argument in GRID_LISTS else ""
        elif current and result[-1] != current:
            result.append(current)
        result.append(argument)
    return result


@app.command(epilog="Example: lookalike demo ~/Pictures")
def demo(
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER", help="Your photos; else a made-up town.")] = None,
    encoder: EncoderName = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything is written.")] = Path(
        "lookalike-demo"
    ),
) -> None:
    """Run the whole job: index, evaluate, print the table, and write a page of queries and their results."""
    from lookalike.cli import demo as demos
    from lookalike.encoders.default import open_encoder
    from lookalike.utils.progress import shown

    check_folder(out)
    if folder is not None and not folder.expanduser().exists():
        raise LookalikeError(f"{folder}: no such folder; name one with photos")
    chosen = open_encoder(encoder)
    note(f"encoder: {chosen.name}")
    with shown("images") as progress:
        result = demos.own_photos(folder, out, chosen, progress) if folder else demos.made_up(out, chosen, progress)
    say(result.text)
    say(f"\npage: {result.page.resolve()}")
