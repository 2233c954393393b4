"""A source to vectors at a target, on a cluster: list, then read, decode, encode and write as a stream of Ray Data."""

import json
import logging
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import load_encoder
from lookalike.errors import LookalikeError, SourceError
from lookalike.images import remote as places
from lookalike.integrations.ray import records
from lookalike.integrations.ray.cluster import OWN_CPUS
from lookalike.integrations.ray.lease import held
from lookalike.integrations.ray.listing import ParquetColumns, choose, listed, table
from lookalike.integrations.ray.progress import reported
from lookalike.integrations.ray.resume import settled
from lookalike.integrations.ray.work import Decode, Encode
from lookalike.types import Progress

SMALLEST_PART, LARGEST_PART = 16, 512
"""Images of a part of the manifest, which a single task decodes."""
PARTS_PER_CPU = 8
LARGEST_FILE = 10_000
"""Rows of a file of the result: the most that is lost when everything is killed."""
DECODE_CPUS, ENCODE_CPUS = 0.5, 0.25
"""Cores that a task or actor counts as: an encoding actor for each core, and decoding tasks that keep them busy.
The two differ, or Ray would fuse the two operators, and each encoder would wait for its own decoding.

Ray's own actor that filters rows by a checkpoint counts as a whole core: with more for the others, a cluster of two
cores would wait for ever (observed)."""
SMALLEST_CLUSTER = 2
ROUNDS = 3
"""Ray Data may end without an error although rows of a lost node were not computed again (observed: 164 of 2,004 with
2.60); another round computes the missing rows."""


ANY_COLUMNS = ParquetColumns()


@dataclass(frozen=True)
class EmbedOptions:
    """Numbers of encoders (0: one for each core or GPU) and of GPUs, images in a batch, dtype, Parquet columns."""

    workers: int = 0
    gpus: int = 0
    batch: int = 32
    dtype: str = "float32"
    columns: ParquetColumns = ANY_COLUMNS


@dataclass(frozen=True)
class Summary:
    """The contents of the target, and the speed of this run."""

    images: int
    skipped: dict[str, int]
    added: int
    seconds: float
    workers: int

    def to_json(self, price_per_hour: float | None = None) -> dict[str, Any]:
        """Ready for JSON; with the price of the cluster, also the cost of a million images at this speed."""
        rate = self.added / self.seconds if self.seconds else 0.0
        facts = {**asdict(self), "seconds": round(self.seconds, 3), "images_per_second": round(rate, 2)}
        if price_per_hour is not None and rate:
            facts["cost_per_million"] = round(price_per_hour * 1e6 / rate / 3600, 2)
        return facts


def embed(
    ray: Any,
    source: str,
    target: str,
    encoder: str,
    options: EmbedOptions = EmbedOptions(),
    progress: Progress | None = None,
) -> Summary:
    """Embed all images of `source` that the result at `target` lacks.

    May be killed at any moment and started again: committed rows stay, and each key is in the result once. `progress`
    gets the images that are done, and all. Raises SourceError, also where another run writes to the target,
    EncoderError, and LookalikeError where the cluster lacks what `options` require.
    """
    job = _job(source, target, encoder, options)
    cpus, workers = _size(ray, options)
    entries = table(listed(source, options.columns))
    if not len(entries):
        raise SourceError(f"{source} holds no images")
    with held(target) as check:
        # Only now, since after a misspelt source the target must still accept the right one.
        if records.read_job(target) is None:
            records.write_job(target, job)
        # Before anything is counted: what a killed run left may not be readable.
        before = len(settled(target))
        start = time.monotonic()
        with reported(target, progress, len(entries)):
            for _ in range(ROUNDS):
                check()
                left = _write_manifest(entries, target, cpus)
                # Ray Data waits for ever for the output of a checkpoint that leaves nothing to do (2.60).
                if not left:
                    break
                _run(ray, job, target, (left, part_size(left, cpus)), workers, options)
        seconds = time.monotonic() - start
        check()
        done = settled(target)
        missing = int(np.count_nonzero(_lacking(entries, done)))
        if missing:
            counted = f"{len(entries) - missing:,} of {len(entries):,}"
            raise LookalikeError(f"{target} holds {counted} images; run the same command again")
        images, skipped = records.counts(target)
        _write_skipped(target)
    return Summary(images, skipped, len(done) - before, seconds, workers)


def _job(source: str, target: str, encoder: str, options: EmbedOptions) -> records.Job:
    """The job; raises SourceError where another job is at the target."""
    if options.dtype not in records.DTYPES:
        raise LookalikeError(f"vectors are {' or '.join(records.DTYPES)}, not {options.dtype}")
    loaded = load_encoder(encoder)
    location = source if "://" in source else places.place(source)[1]
    columns = options.columns
    image = columns.image or _image_column(source, columns)
    job = records.Job(location, encoder, loaded.fingerprint, loaded.dim, options.dtype, columns.key, image)
    existing = records.read_job(target)
    if existing is not None and existing != job:
        name, old, new = next(
            (name, old, asdict(job)[name]) for name, old in asdict(existing).items() if old != asdict(job)[name]
        )
        raise SourceError(f"{target} holds a job with {name} {old}, not {new}; give another --to")
    return job


def _image_column(source: str, columns: ParquetColumns) -> str:
    """The image column of a Parquet source, "" for any other source."""
    import pyarrow.parquet as pq
    from pyarrow import fs

    system, path = places.place(source)
    try:
        info = system.get_file_info(path)
        files = [info] if info.type == fs.FileType.File else []
        if info.type == fs.FileType.Directory:
            files = sorted(system.get_file_info(fs.FileSelector(path, recursive=True)), key=lambda file: str(file.path))
    except OSError as error:
        raise SourceError(f"{source}: {places.short(error)}") from error
    first = next((file.path for file in files if file.path.lower().endswith(".parquet")), None)
    if first is None:
        return ""
    try:
        with system.open_input_file(first) as raw, pq.ParquetFile(raw) as file:
            return choose(file.schema_arrow, columns, first).image
    except (OSError, ValueError) as error:
        raise SourceError(f"{first}: cannot be read as Parquet ({places.short(error)})") from error


def _size(ray: Any, options: EmbedOptions) -> tuple[int, int]:
    """Cores of the cluster, and encoders to run; raises LookalikeError where it has too few cores or GPUs."""
    resources = ray.cluster_resources()
    cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    if cpus < SMALLEST_CLUSTER:
        raise LookalikeError(f"this cluster has {cpus} core; Ray Data needs {SMALLEST_CLUSTER}")
    if options.gpus > gpus:
        raise LookalikeError(f"--gpus {options.gpus}: this cluster has {gpus} GPUs")
    return cpus, options.gpus or options.workers or max(1, cpus - OWN_CPUS)


def _lacking(entries: Any, done: set[str]) -> NDArray[np.bool_]:
    """Which entries are not done."""
    blocks = (chunk.to_pylist() for chunk in entries.column("key").chunks)
    return np.fromiter((key not in done for block in blocks for key in block), np.bool_, len(entries))


def _write_manifest(entries: Any, target: str, cpus: int) -> int:
    """Write the images that the target lacks as Parquet files, one for each part; returns their number.

    Every run writes the manifest again, so that new images are embedded too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = places.join(target, records.MANIFEST)
    system, path = places.place(folder)
    done = settled(target)
    left = entries.filter(pa.array(_lacking(entries, done)))
    size = part_size(len(left), cpus)
    try:
        if places.kind(folder) == "folder":
            system.delete_dir_contents(path)
        places.make_folder(folder, system, f"{path}/part")
        for start in range(0, len(left), size):
            with system.open_output_stream(f"{path}/{start // size:06}.parquet") as file:
                pq.write_table(left.slice(start, size), file)
    except OSError as error:
        raise SourceError(f"{folder}: cannot be written ({places.short(error)}); run the same command again") from error
    return len(left)


def part_size(count: int, cpus: int) -> int:
    """Images that a task decodes: as many as keep all cores busy to the end."""
    return max(SMALLEST_PART, min(LARGEST_PART, count // (PARTS_PER_CPU * cpus)))


def _run(ray: Any, job: records.Job, target: str, sizes: tuple[int, int], workers: int, options: EmbedOptions) -> None:
    from ray.data import ActorPoolStrategy, DataContext
    from ray.data.checkpoint import CheckpointConfig

    context, (count, part) = DataContext.get_current(), sizes
    system, checkpoint = places.place(places.join(target, records.CHECKPOINT))
    places.make_folder(places.join(target, records.CHECKPOINT), system, f"{checkpoint}/part")
    context.checkpoint_config = CheckpointConfig(
        "key", checkpoint, override_filesystem=places.portable(system), delete_checkpoint_on_success=False
    )
    context.checkpoint_config.checkpoint_actor_pool_max_size = 1
    context.enable_progress_bars = False
    # The newer reader starts 32 actors for the footers of Parquet files, which takes half a minute on two cores.
    context.use_datasource_v2 = False
    # A broken image is a row with a reason, and rows of a lost node are computed again, so any error is fatal.
    context.max_errored_blocks = 0
    # It logs the traceback of an error that it raises as well.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    manifest, files = places.place(places.join(target, records.MANIFEST))
    results, place = places.place(places.join(target, records.VECTORS))
    places.make_folder(places.join(target, records.VECTORS), results, f"{place}/part")
    light = {"num_cpus": DECODE_CPUS}
    # A block for each part, or a small list would be a single block that one task decodes. `repartition` would need
    # tasks of a whole core, which never becomes free on nodes of one core with encoders (observed).
    parts = -(-count // part)
    stream = ray.data.read_parquet(files, filesystem=places.portable(manifest), override_num_blocks=parts, **light)
    decode = Decode(job.encoder, places.portable(places.place(job.source)[0]), job.image)
    stream = stream.map_batches(decode, batch_size=None, batch_format="pyarrow", zero_copy_batch=True, **light)
    stream = stream.map_batches(
        Encode, fn_constructor_args=(job,), batch_size=options.batch, batch_format="pyarrow",
        compute=ActorPoolStrategy(size=workers), num_gpus=1 if options.gpus else 0,
        num_cpus=1 if options.gpus else ENCODE_CPUS, zero_copy_batch=True,
    )  # fmt: skip
    rows = max(SMALLEST_PART, min(LARGEST_FILE, count // (PARTS_PER_CPU * workers)))
    try:
        stream.write_parquet(place, filesystem=places.portable(results), min_rows_per_file=rows, ray_remote_args=light)
    except Exception as error:
        raise _cause(error, target) from error


def _cause(error: Exception, target: str) -> LookalikeError:
    """The LookalikeError of a worker, or another error of the cluster, as one line."""
    cause: BaseException | None = error
    texts: list[str] = []
    while cause is not None:
        for candidate in (getattr(cause, "cause", None), cause):
            if isinstance(candidate, LookalikeError):
                return LookalikeError(str(candidate).splitlines()[-1].partition("Error: ")[2] or str(candidate))
        texts.append(str(cause))
        cause = cause.__cause__
    # Ray puts the traceback of the worker before the message.
    lines = [line.strip() for text in texts for line in text.splitlines()[-1:] if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return LookalikeError(f"{target}: the cluster ended with: {text[:200]}; run the same command again")


def _write_skipped(target: str) -> None:
    """Write the skipped images as lines of JSON."""
    lines = [json.dumps({"key": key, "reason": reason}) + "\n" for key, reason in sorted(records.skipped(target))]
    places.write_text(places.join(target, records.SKIPPED), "".join(lines))
