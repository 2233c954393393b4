"""The command that embeds on many machines; `lookalike index --from` takes its output."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lookalike.cli.app import AsJson, EncoderName, app
from lookalike.cli.output import note, print_json, say
from lookalike.errors import LookalikeError
from lookalike.utils.cores import cores
from lookalike.utils.text import command, counted


@app.command(epilog="Example: lookalike embed s3://photos --to s3://vectors --cluster auto")
def embed(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder, .tar shards or Parquet files; also a URI.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="URI", help="Where the vectors go: a folder, s3://, gs://, hdfs://.")
    ],
    cluster: Annotated[
        str, typer.Option(metavar="WHERE", help="local: this machine; auto: the Ray cluster here; or its address.")
    ] = "local",
    encoder: EncoderName = None,
    gpus: Annotated[
        int, typer.Option(metavar="N", min=0, help="Encoders that have a GPU each; 0 encodes on cores.")
    ] = 0,
    workers: Annotated[int, typer.Option(metavar="N", min=0, help="Encoders on cores; 0 for one a core.")] = 0,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Images an encoder takes at once.")] = 32,
    dtype: Annotated[Literal["float32", "float16"], typer.Option(help="How vectors are written.")] = "float32",
    key: Annotated[str, typer.Option(metavar="COLUMN", help="Of Parquet: the column of keys.")] = "",
    image: Annotated[str, typer.Option(metavar="COLUMN", help="Of Parquet: the column of bytes or URLs.")] = "",
    price_per_hour: Annotated[
        float | None,
        typer.Option(
            metavar="PRICE", min=0, help="What the cluster costs an hour: shows the cost of a million images."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 if anything was skipped.")] = False,
    as_json: AsJson = False,
) -> None:
    """Embed images on a Ray cluster. May be killed at any moment: the same command goes on, and each key is there once.

    S3 is reached as the variables AWS_* say. Workers get its keys with the job, never in Ray's logs.
    """
    from lookalike.encoders.default import default_encoder
    from lookalike.images.remote import require_answer
    from lookalike.integrations import ENGINES
    from lookalike.integrations import addresses as engines
    from lookalike.integrations import ray as jobs
    from lookalike.integrations.ray.cluster import cluster as connected
    from lookalike.integrations.ray.listing import ParquetColumns
    from lookalike.utils.progress import shown

    if to.partition(":")[0].partition("+")[0] in ENGINES:
        raise LookalikeError(
            f"{engines.stored(to)}: vectors go to files first: --to a folder or s3://…, then "
            f"`{command('index', '--from', 'FOLDER', '--to', engines.stored(to), '--collection', 'DIR')}`"
        )
    options = jobs.EmbedOptions(workers, gpus, batch, dtype, ParquetColumns(key, image))
    if cluster == "local" and "://" not in source and not Path(source).exists():
        raise LookalikeError(f"{source}: no such folder or file")
    for uri in (source, to):
        require_answer(uri)
    with connected(cluster, workers or cores(), (source, to)) as ray, shown("images") as progress:
        summary = jobs.embed(ray, source, to, encoder or default_encoder(), options, progress)
    facts = summary.to_json(price_per_hour)
    if as_json:
        print_json({"to": to, **facts})
    else:
        cost = f", {facts['cost_per_million']:,} a million" if "cost_per_million" in facts else ""
        rate = f"{facts['added']:,} in {summary.seconds:,.1f} s, {facts['images_per_second']:,}/s"
        say(f"{to}: {counted(summary.images, 'image')} ({rate}{cost})")
    for reason, count in list(summary.skipped.items())[:5]:
        note(f"skipped {count:,}: {reason}")
    if summary.skipped:
        note(f"{sum(summary.skipped.values()):,} skipped in all; {to}/skipped.jsonl lists them")
    if not summary.images:
        raise LookalikeError(f"{source}: none of {counted(sum(summary.skipped.values()), 'image')} could be used")
    if strict and summary.skipped:
        raise typer.Exit(3)


@dataclass(frozen=True)
class Taken:
    """How `index --from` takes vectors: where they go, the encoder they must be of, dtype, tables, and how it ends."""

    engine: str | None
    encoder: str | None
    dtype: str | None
    meta: tuple[Path, ...]
    strict: bool
    as_json: bool


def take(target: str, collection: Path | None, options: Taken, refused: dict[str, Any]) -> None:
    """`index --from`: make a collection of the output of `embed`; options of `refused` may not be given."""
    from lookalike.collection.collection import Collection
    from lookalike.images.remote import require_answer
    from lookalike.integrations import addresses as engines
    from lookalike.integrations.ray.load import load
    from lookalike.utils.progress import shown

    if collection is None:
        raise typer.BadParameter("--from goes with --collection DIR, where the collection is to lie")
    for option, given in refused.items():
        if given:
            raise typer.BadParameter(f"{option} does not go with --from, which takes vectors that are made already")
    require_answer(target)
    with shown("images") as progress:
        engine = engines.stored(options.engine) if options.engine else None
        done = load(target, collection.expanduser(), engine, progress, options.encoder, options.dtype)
    for table in options.meta:
        with Collection(collection.expanduser()) as made:
            read, used = made.attach(table)
        note(f"{table}: {used:,} of {counted(read, 'line')} name an image here")
    if options.as_json:
        print_json({"collection": str(collection), **asdict(done)})
    else:
        counts = ", ".join(f"{count:,} {name}" for name, count in asdict(done).items() if count)
        say(f"{collection}: {counts or 'nothing to do'}")
    if options.strict and done.skipped:
        raise typer.Exit(3)
