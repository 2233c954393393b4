"""A source to vectors at a target, on a cluster: list, then read, decode, encode and write as a stream of Ray Data."""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from lookalike.encoders import load_encoder
from lookalike.errors import LookalikeError, SourceError
from lookalike.images import remote as places
from lookalike.integrations.ray import records
from lookalike.integrations.ray.cluster import OWN_CPUS
from lookalike.integrations.ray.listing import Listed, ParquetColumns, choose, listed
from lookalike.integrations.ray.resume import settled
from lookalike.integrations.ray.work import Decode, Encode

SMALLEST_PART, LARGEST_PART = 16, 512
"""Images of a part of the manifest, which is what one task decodes."""
PARTS_PER_CPU = 8
LARGEST_FILE = 10_000
"""Rows of a file of the result, and so what is lost at most where everything is killed."""
DECODE_CPUS, ENCODE_CPUS = 0.5, 0.25
"""Of a core that a task or actor is counted with: an actor for each core, and decoding that keeps them busy beside it.
They differ, or Ray would make one operator of the two, and each encoder would wait for its own decoding.

Ray's own actor that leaves out what a checkpoint holds counts as a whole core: with more for the others, a cluster of
two cores would wait for ever (seen)."""
SMALLEST_CLUSTER = 2
ROUNDS = 3
"""Ray Data may end as if all were well though a node took rows with it that nobody computed again (seen: 164 of 2,004
with 2.60); what is missing at the end is done in another round."""


ANY_COLUMNS = ParquetColumns()


@dataclass(frozen=True)
class EmbedOptions:
    """How to run: how many encoders (0: one a core, or one a GPU), how many GPUs, images a batch, and the columns."""

    workers: int = 0
    gpus: int = 0
    batch: int = 32
    dtype: str = "float32"
    columns: ParquetColumns = ANY_COLUMNS


@dataclass(frozen=True)
class Summary:
    """What lies at the target now, and how fast this run was."""

    images: int
    skipped: dict[str, int]
    added: int
    seconds: float
    workers: int

    def to_json(self, price_per_hour: float | None = None) -> dict[str, Any]:
        """Ready to print; with the cluster's price, what a million images cost at this speed."""
        rate = self.added / self.seconds if self.seconds else 0.0
        shown = {**asdict(self), "seconds": round(self.seconds, 3), "images_per_second": round(rate, 2)}
        if price_per_hour is not None and rate:
            shown["cost_per_million"] = round(price_per_hour * 1e6 / rate / 3600, 2)
        return shown


def embed(ray: Any, source: str, target: str, encoder: str, options: EmbedOptions = EmbedOptions()) -> Summary:
    """Embed everything in `source` that the result at `target` does not hold yet.

    May be killed at any moment and started again: what was committed stays, and each key is there once. Raises
    SourceError, EncoderError, and LookalikeError where the cluster has not what `options` ask for.
    """
    job = _job(source, target, encoder, options)
    cpus, workers = _size(ray, options)
    entries = list(listed(source, options.columns))
    if not entries:
        raise SourceError(f"{source} holds no images")
    # Not before: a source that was misspelt must not keep its place from the right one.
    if records.read_job(target) is None:
        records.write_job(target, job)
    before, skipped_before = records.counts(target)
    start = time.monotonic()
    for _ in range(ROUNDS):
        left = _write_manifest(entries, target, cpus)
        # Ray Data waits for ever for the output of a checkpoint that leaves nothing to do (2.60).
        if not left:
            break
        _run(ray, job, target, (left, part_size(left, cpus)), workers, options)
    seconds = time.monotonic() - start
    images, skipped = records.counts(target)
    held = images + sum(skipped.values())
    if held < len(entries):
        raise LookalikeError(f"{target} holds {held:,} of {len(entries):,} images; run the same command again")
    _write_skipped(target)
    added = held - before - sum(skipped_before.values())
    return Summary(images, skipped, added, seconds, workers)


def _job(source: str, target: str, encoder: str, options: EmbedOptions) -> records.Job:
    """What is to be done; where a job lies at the target, it must be the same."""
    if options.dtype not in records.DTYPES:
        raise LookalikeError(f"vectors are {' or '.join(records.DTYPES)}, not {options.dtype}")
    loaded = load_encoder(encoder)
    kept = source if "://" in source else places.place(source)[1]
    columns = options.columns
    image = columns.image or _image_column(source, columns)
    job = records.Job(kept, encoder, loaded.fingerprint, loaded.dim, options.dtype, columns.key, image)
    held = records.read_job(target)
    if held is not None and held != job:
        name, old, new = next(
            (name, old, asdict(job)[name]) for name, old in asdict(held).items() if old != asdict(job)[name]
        )
        raise SourceError(f"{target} holds a job with {name} {old}, not {new}; give another --to")
    return job


def _image_column(source: str, columns: ParquetColumns) -> str:
    """The image column of a Parquet source, which the workers read; "" for any other source."""
    import pyarrow.parquet as pq
    from pyarrow import fs

    system, path = places.place(source)
    info = system.get_file_info(path)
    found = [info] if info.type == fs.FileType.File else []
    if info.type == fs.FileType.Directory:
        found = sorted(system.get_file_info(fs.FileSelector(path, recursive=True)), key=lambda one: str(one.path))
    first = next((one.path for one in found if one.path.lower().endswith(".parquet")), None)
    if first is None:
        return ""
    try:
        with system.open_input_file(first) as raw, pq.ParquetFile(raw) as file:
            return choose(file.schema_arrow, columns, first).image
    except (OSError, ValueError) as error:
        raise SourceError(f"{first}: cannot be read as Parquet ({places.short(error)})") from error


def _size(ray: Any, options: EmbedOptions) -> tuple[int, int]:
    """Cores of the cluster, and encoders to run; raises LookalikeError where it has fewer GPUs than asked for."""
    held = ray.cluster_resources()
    cpus, gpus = int(held.get("CPU", 1)), int(held.get("GPU", 0))
    if cpus < SMALLEST_CLUSTER:
        raise LookalikeError(f"this cluster has {cpus} core; Ray Data needs {SMALLEST_CLUSTER}")
    if options.gpus > gpus:
        raise LookalikeError(f"--gpus {options.gpus}: this cluster has {gpus} GPUs")
    return cpus, options.gpus or options.workers or max(1, cpus - OWN_CPUS)


def _write_manifest(entries: Sequence[Listed], target: str, cpus: int) -> int:
    """The images that the target lacks as Parquet files of one part each; how many these are.

    It is made anew by every run, so that images which have come since are embedded too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = places.join(target, records.MANIFEST)
    system, path = places.place(folder)
    if places.kind(folder) == "folder":
        system.delete_dir_contents(path)
    places.make_folder(folder, system, f"{path}/part")
    done = settled(target)
    left = [entry for entry in entries if entry.key not in done]
    stream: Iterator[Any] = iter(left)
    number = 0
    while part := list(islice(stream, part_size(len(left), cpus))):
        table = pa.Table.from_pylist([asdict(entry) for entry in part], schema=records.listed_schema())
        with system.open_output_stream(f"{path}/{number:06}.parquet") as file:
            pq.write_table(table, file)
        number += 1
    return len(left)


def part_size(count: int, cpus: int) -> int:
    """Images a task decodes: enough parts to keep all cores busy to the end, and no more than need be."""
    return max(SMALLEST_PART, min(LARGEST_PART, count // (PARTS_PER_CPU * cpus)))


def _run(ray: Any, job: records.Job, target: str, sizes: tuple[int, int], workers: int, options: EmbedOptions) -> None:
    from ray.data import ActorPoolStrategy, DataContext
    from ray.data.checkpoint import CheckpointConfig

    context, (count, part) = DataContext.get_current(), sizes
    system, checkpoint = places.place(places.join(target, records.CHECKPOINT))
    places.make_folder(places.join(target, records.CHECKPOINT), system, f"{checkpoint}/part")
    context.checkpoint_config = CheckpointConfig(
        "key", checkpoint, override_filesystem=system, delete_checkpoint_on_success=False
    )
    context.checkpoint_config.checkpoint_actor_pool_max_size = 1
    context.enable_progress_bars = False
    # The newer reader starts 32 actors for the footers of any Parquet file: half a minute on two cores.
    context.use_datasource_v2 = False
    # A broken image is a row with a reason; a node that dies takes nothing with it that is not computed again.
    context.max_errored_blocks = 0
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    manifest, files = places.place(places.join(target, records.MANIFEST))
    results, place = places.place(places.join(target, records.VECTORS))
    places.make_folder(places.join(target, records.VECTORS), results, f"{place}/part")
    light = {"num_cpus": DECODE_CPUS}
    # A block for each part, or a small list would be one block, which one task would decode. `repartition` would do so
    # too, with tasks that want a whole core: on nodes of one core beside encoders there is none, for ever (seen).
    parts = -(-count // part)
    stream = ray.data.read_parquet(files, filesystem=manifest, override_num_blocks=parts, **light)
    decode = Decode(job.encoder, job.source, job.image)
    stream = stream.map_batches(decode, batch_size=None, batch_format="pyarrow", zero_copy_batch=True, **light)
    stream = stream.map_batches(
        Encode, fn_constructor_args=(job,), batch_size=options.batch, batch_format="pyarrow",
        compute=ActorPoolStrategy(size=workers), num_gpus=1 if options.gpus else 0,
        num_cpus=1 if options.gpus else ENCODE_CPUS, zero_copy_batch=True,
    )  # fmt: skip
    rows = max(SMALLEST_PART, min(LARGEST_FILE, count // (PARTS_PER_CPU * workers)))
    try:
        stream.write_parquet(place, filesystem=results, min_rows_per_file=rows, ray_remote_args=light)
    except Exception as error:
        raise _reason(error) from error


def _reason(error: Exception) -> Exception:
    """The refusal of a worker in its own words; anything else as Ray tells it."""
    cause: BaseException | None = error
    while cause is not None:
        for found in (getattr(cause, "cause", None), cause):
            if isinstance(found, LookalikeError):
                return LookalikeError(str(found).splitlines()[-1].partition("Error: ")[2] or str(found))
        cause = cause.__cause__
    return error


def _write_skipped(target: str) -> None:
    """The skipped as one line of JSON each, for people and for pipes."""
    lines = [json.dumps({"key": key, "reason": reason}) + "\n" for key, reason in sorted(records.skipped(target))]
    places.write_text(places.join(target, records.SKIPPED), "".join(lines))
