"""A parsed request to a `Query` and `SearchOptions`: ids to keys, uploads to checked bytes, vectors to arrays."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import ImageError, QueryError
from lookalike.search import rerank
from lookalike.search.evidence import BEST
from lookalike.search.options import SearchOptions
from lookalike.search.query import Example, Key, Query
from lookalike.search.rerank.patches import PatchEncoder
from lookalike.service.bodies import Body, Form, Upload
from lookalike.service.errors import ApiError, of_image, printable
from lookalike.service.ids import to_key
from lookalike.service.models import (
    BY_COMMAS,
    REPEATED,
    ByHalf,
    ById,
    ByUrl,
    ByVector,
    Filter,
    ImageReference,
    Options,
    SearchBody,
)
from lookalike.service.served import Served
from lookalike.service.settings import Settings
from lookalike.storage import filters
from lookalike.storage.photo_facts import PLACES
from lookalike.types import Box, Encoder

RequestExample = ImageReference | Upload
"""An example in a request: an image of the collection, a vector, a URL, or an uploaded image."""


@dataclass(frozen=True)
class Search:
    """One search as it was requested, in JSON or as a form."""

    queries: Sequence[RequestExample]
    negatives: Sequence[RequestExample]
    options: Options

    @classmethod
    def of_body(cls, body: SearchBody) -> "Search":
        """From JSON."""
        return cls(body.queries(), body.negatives, body)

    @classmethod
    def of_form(cls, form: Form) -> "Search":
        """From a form: images under `file` and `negative`, ids under `id` and `negative_id`, the rest by its name."""
        ids = {"id": [ById(id=text) for key, text in form.fields if key == "id"]}
        ids["negative_id"] = [ById(id=text) for key, text in form.fields if key == "negative_id"]
        for file in form.files:
            if file.field not in ("file", "negative"):
                raise ApiError(422, "invalid", f"{printable(file.field)[:80]}: no such field for a file", "use file")
        options = form_options(form, ("id", "negative_id"))
        queries: list[RequestExample] = [*form.of("file"), *ids["id"]]
        if not queries and options.text is None:
            raise ApiError(422, "invalid", "file: an image is wanted", "send it as the form's field `file`")
        return cls(queries, [*form.of("negative"), *ids["negative_id"]], options)


def form_options(form: Form, passed: Sequence[str] = ()) -> Options:
    """The fields of a form as `Options`: `exclude` and `rerank` are repeated, other lists are written by commas."""
    values: dict[str, Any] = {}
    for name, text in form.fields:
        if name in passed:
            continue
        if name == "prefix":
            values["filter"] = Filter(prefix=text)
        elif name in REPEATED:
            values.setdefault(name, []).append(text)
        else:
            values[name] = [part.strip() for part in text.split(",")] if name in BY_COMMAS else text
    return Options.model_validate(values)


def half(vector: NDArray[np.float32]) -> str:
    """A vector as base64url of little-endian float16."""
    return base64.urlsafe_b64encode(vector.astype("<f2").tobytes()).rstrip(b"=").decode("ascii")


def from_half(text: str) -> NDArray[np.float32]:
    """The inverse of `half`; raises ApiError 422."""
    try:
        plain = text.rstrip("=")
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
        return np.frombuffer(data, "<f2").astype(np.float32)
    except (ValueError, binascii.Error) as error:
        raise ApiError(422, "invalid", "vector_f16: not base64url of float16 numbers", "see POST /v1/embed") from error


def to_box(values: Sequence[float] | None) -> Box | None:
    """Four numbers as a box; raises ApiError 422 where it is empty."""
    if values is None:
        return None
    box = Box(*values)
    if box.left >= box.right or box.top >= box.bottom:
        raise ApiError(422, "invalid", "box: left, top, right, bottom, with right > left and bottom > top")
    return box


def parse_box(text: str | None) -> Box | None:
    """The same from a field of an address or a form."""
    if text is None:
        return None
    return to_box(Options.model_validate({"box": text.split(",")}).box)


def refuse_many_urls(examples: Sequence[RequestExample], most: int) -> None:
    """Raises ApiError 413 for more than `most` URLs in one request: each is fetched whole and kept in memory."""
    if sum(isinstance(example, ByUrl) for example in examples) > most:
        raise ApiError(413, "too_many", f"over {most} URLs in one request", "send fewer")


async def fetched(served: Served, examples: Sequence[RequestExample], body: Body) -> list[RequestExample]:
    """The examples in their order, each URL replaced by the bytes behind it; raises ApiError.

    The bytes count as if they had come with the body.
    """
    fetched_examples: list[RequestExample] = []
    for example in examples:
        if not isinstance(example, ByUrl):
            fetched_examples.append(example)
            continue
        if not served.settings.allow_urls:
            raise ApiError(422, "no_urls", "this service fetches no URLs", "upload the image, or serve --allow-urls")
        url = example.url
        try:
            data = await served.fetches.run(lambda url=url: served.fetch(url))  # type: ignore[misc]
        except ImageError as error:
            raise ApiError(422, "bad_url", f"url: {error}", "upload the image instead") from error
        body.hold(len(data))
        fetched_examples.append(Upload("url", "", data))
    return fetched_examples


@dataclass(frozen=True)
class Resolver:
    """Makes requested examples into queries of the library, in a worker thread."""

    served: Served
    needs_pixels: bool = False

    def example(self, example: RequestExample) -> Example:
        """An image or vector; raises ApiError: 404 for an unknown id; 413, 415 or 422 for an image of no use."""
        if isinstance(example, ById):
            return Key(self.served.item(example.id).key)
        if isinstance(example, ByVector):
            return np.array(example.vector, np.float32)
        if isinstance(example, ByHalf):
            return from_half(example.vector_f16)
        assert isinstance(example, Upload), "URLs were fetched"
        size = None if self.needs_pixels else self.served.subject.spaces()[0].encoder().decode_size
        self.served.examiner.check(example.field, example.data, size)
        return example.data

    def question(self, search: Search) -> Query:
        """The query of a search; raises ApiError as `example` does, and QueryError for what does not go together."""
        options = search.options
        return Query(
            examples=tuple(map(self.example, search.queries)),
            text=options.text,
            negatives=tuple(map(self.example, search.negatives)),
            negative_text=options.negative_text,
            box=to_box(options.box),
            weights=None if options.weights is None else tuple(options.weights),
            combine=options.combine,
            invariant=tuple(options.invariant),
        )


def search_options(options: Options) -> SearchOptions:
    """The options of a search; raises QueryError for a wrong value, ApiError 404 for what cannot be an id."""
    return SearchOptions(
        k=options.k,
        offset=options.offset,
        min_score=options.min_score,
        exclude_self=options.exclude_self,
        where=_where(options),
        exclude=frozenset(map(to_key, options.exclude)),
        rerank=tuple(options.rerank),
        recall=options.recall,
        fuse=options.fuse,
        found=options.found,
        verify=options.verify,
        sort=options.sort,
        regions=options.regions,
    )


def _where(options: Options) -> str | None:
    """The filter, and with it the prefix, whose letters are escaped: none is a wildcard."""
    if options.filter is None:
        return options.where
    plain = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in options.filter.prefix)
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    prefix = f'key:"{quoted}*"'
    return prefix if options.where is None else f"{prefix} and ({options.where})"


def refuse_places(options: Options, served: Served) -> None:
    """Raises ApiError 422 for a filter that tests where photos were taken, unless the service may tell that."""
    where = _where(options)
    if where is None or served.settings.show_places:
        return
    # A column of the user's own is no secret of the photos, where every vector set has it.
    columns = [{name for _, name in store.catalog.columns()} for store in served.subject.stores()]
    own: set[str] = set.intersection(*columns)
    tested = filters.names(where) & set(PLACES) - own
    if tested:
        message = f"where: this service does not tell where photos were taken ({', '.join(sorted(tested))})"
        raise ApiError(422, "no_places", message, "start it with --show-places")


def checked_depth(options: Options, settings: Settings) -> None:
    """Raises ApiError 422 for more results or candidates than a request may have, QueryError for a wrong method."""
    most = settings.depth
    if options.offset + options.k > most:
        raise ApiError(422, "invalid", f"offset: offset + k may be {most:,} at most", "narrow the search instead")
    for spec in options.rerank:
        method = rerank.parse(spec)
        for name, value in vars(method).items():
            limit = _most_candidates(spec, settings) if name == "top" else most
            if isinstance(value, int) and value > limit:
                raise ApiError(422, "invalid", f"rerank: {name} may be {limit:,} at most", "ask for fewer")


def checked_total(searches: Sequence[Options], settings: Settings) -> None:
    """Raises ApiError 422 where the re-rankings of a whole request look at more candidates than one may."""
    for names, most in ((PICTURES, settings.reranked), (AMONG_THEMSELVES, settings.compared)):
        total = sum(_candidates(spec) for options in searches for spec in options.rerank if _method(spec) in names)
        total += sum(BEST for options in searches if options.verify) if names is PICTURES else 0
        if total > most:
            message = f"rerank: {' and '.join(names)} would look at {total:,} candidates; a request may have {most:,}"
            raise ApiError(422, "invalid", message, "set top=, as in spatial,top=50, or send fewer searches")


def _candidates(spec: str) -> int:
    """How many candidates a method looks at; none where it cannot be used, which its own search says."""
    try:
        return int(getattr(rerank.parse(spec), "top", 0))
    except QueryError:
        return 0


def is_heavy(options: Options) -> bool:
    """Whether a search may take seconds: while one does, quick ones must not wait for it."""
    return options.verify or any(_method(spec) in (*PICTURES, *AMONG_THEMSELVES) for spec in options.rerank)


def shows_points(options: Options) -> bool:
    """Whether the order of the results is by points that agree."""
    return any(_method(spec) == "spatial" for spec in options.rerank)


def needs_pixels(options: Options) -> bool:
    """Whether the query will be decoded at full size, by a re-ranker, to be verified or to be turned."""
    return any(map(_looks_at_pixels, options.rerank)) or options.verify or bool(options.invariant)


PICTURES = ("spatial", "patches", "region")
AMONG_THEMSELVES = ("k-reciprocal", "diffusion")


def _most_candidates(spec: str, settings: Settings) -> int:
    if _looks_at_pixels(spec):
        return settings.reranked
    return settings.compared if _method(spec) in AMONG_THEMSELVES else settings.depth


def _looks_at_pixels(spec: str) -> bool:
    return _method(spec) in PICTURES


def _method(spec: str) -> str:
    return spec.partition(",")[0].strip()


def methods(encoders: Sequence[Encoder]) -> list[dict[str, Any]]:
    """The re-rankers that work with all these encoders."""
    has_patches = all(isinstance(encoder, PatchEncoder) for encoder in encoders)
    names = [name for name in rerank.RERANKERS if name != "patches" or has_patches]
    return [{"name": name, "compares_pictures": name in PICTURES} for name in names]


def named(call: Callable[[], Any], name: str) -> Any:
    """`call()`; its ImageError becomes an ApiError that names the upload `name`."""
    try:
        return call()
    except ImageError as error:
        raise of_image(name, error) from error
