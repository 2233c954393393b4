"""Requests and answers as pydantic models: the source of the OpenAPI document."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lookalike.search.combine import Combine
from lookalike.search.options import Fuse, SearchOptions, Sort

Id = Annotated[str, Field(min_length=1, max_length=8192, description="As search results name it.")]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Pixel = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
# Each list stops at its first error: pydantic makes an object of each, and 4 MiB have room for a million.
Region = Annotated[
    list[Pixel],
    Field(
        min_length=4, max_length=4, fail_fast=True, examples=[[10, 20, 400, 300]],
        description="left, top, right, bottom in pixels of the upright image; right and bottom are exclusive.",
    ),
]  # fmt: skip
ID = "MjAxOS9iZWFjaC5qcGc"
DEFAULTS = SearchOptions()
"""An option has the same default over HTTP as in Python and on the command line."""
FIELDS = 64
"""The most fields of one JSON object."""


class Strict(BaseModel):
    """Refuses unknown fields: a misspelt one would be ignored in silence."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, value: Any) -> Any:
        # Before each is refused by itself, for each kind of query that the object might be.
        if isinstance(value, dict) and len(value) > FIELDS:
            raise ValueError(f"{len(value):,} fields; there are not that many")
        return value


class ById(Strict):
    """An image of the collection."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": ID}]})
    id: Id


class ByVector(Strict):
    """A descriptor (embedding) of the collection's encoder; it is scaled to unit length."""

    vector: Annotated[list[Number], Field(min_length=1, max_length=8192, fail_fast=True)]


class ByHalf(Strict):
    """The same, as base64url of little-endian float16: a third of the size, and short enough for an address."""

    vector_f16: Annotated[str, Field(min_length=2, max_length=32768, pattern=r"^[A-Za-z0-9_-]+={0,2}$")]


class ByUrl(Strict):
    """An image at a public address, where the service allows that."""

    url: Annotated[str, Field(min_length=8, max_length=2048, examples=["https://example.org/photo.jpg"])]


ImageReference = ById | ByVector | ByHalf | ByUrl


class Filter(Strict):
    """Only images for which this holds."""

    prefix: Annotated[str, Field(min_length=1, max_length=1024, description="Keys begin with this, such as 2019/.")]


class Options(Strict):
    """The options of a search, whatever it looks for."""

    k: Annotated[int, Field(ge=1, le=1000, description="How many results.")] = DEFAULTS.k
    offset: Annotated[int, Field(ge=0, le=9000, description="How many of the best to pass over.")] = DEFAULTS.offset
    box: Region | None = None
    min_score: Annotated[float, Field(ge=-1, le=1, description="Leave out results below this.")] | None = None
    exclude_self: Annotated[bool, Field(description="Leave out the query images themselves.")] = DEFAULTS.exclude_self
    where: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=1024,
                examples=["key:2019/* and year >= 2019"],
                description="Only images for which this holds, as for --where.",
            ),
        ]
        | None
    ) = None
    rerank: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]],
        Field(
            max_length=4,
            fail_fast=True,
            examples=[["alpha-qe,k=10"]],
            description="Methods, as for --rerank, in their order.",
        ),
    ] = []
    invariant: Annotated[list[Literal["flip", "rotate", "scale"]], Field(max_length=3, fail_fast=True)] = []
    combine: Annotated[Combine, Field(description="How several query images make one.")] = "mean"
    weights: (
        Annotated[list[Annotated[float, Field(gt=0, le=1e6)]], Field(min_length=1, max_length=16, fail_fast=True)]
        | None
    ) = None
    text: Annotated[str, Field(min_length=1, max_length=2000, description="Where the encoder reads text.")] | None = (
        None
    )
    negative_text: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    exclude: Annotated[
        list[Id],
        Field(max_length=64, fail_fast=True, description="Images that are searched as if they were not there."),
    ] = []
    filter: Annotated[
        Filter | None, Field(description="`where` says it too.", json_schema_extra={"deprecated": True})
    ] = None
    recall: (
        Annotated[float, Field(gt=0, le=1, description="Share of the true nearest that an index must find.")] | None
    ) = None
    fuse: Annotated[Fuse, Field(description="How images and words become one ranking.")] = DEFAULTS.fuse
    found: Annotated[bool, Field(description="Only what shows the same thing as the query rather than not.")] = (
        DEFAULTS.found
    )
    verify: Annotated[bool, Field(description="In doubt, compare the pixels of the best 10, for their confidence.")] = (
        DEFAULTS.verify
    )
    sort: Annotated[Sort, Field(description="The order in which the results come.")] = DEFAULTS.sort
    regions: (
        Annotated[bool, Field(description="Whether images count with their best parts; null: where there are any.")]
        | None
    ) = DEFAULTS.regions


def _lists(of_words: bool) -> frozenset[str]:
    """The names of options that are lists: of free text, or of numbers and fixed words, which hold no comma."""
    names = set()
    for name, schema in Options.model_json_schema()["properties"].items():
        for kind in schema.get("anyOf", [schema]):
            if kind.get("type") == "array":
                free = kind["items"].get("type") == "string" and "enum" not in kind["items"]
                if free == of_words:
                    names.add(name)
    return frozenset(names)


REPEATED, BY_COMMAS = _lists(of_words=True), _lists(of_words=False)
"""How a form has a list: one field for each entry, or one field with commas."""


def form_fields() -> dict[str, Any]:
    """The OpenAPI entry of a form with the same options: each field is one text."""
    fields = {}
    for name, schema in Options.model_json_schema()["properties"].items():
        plain = next((kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"), schema)
        if "type" in plain:
            kept = {key: plain[key] for key in ("minimum", "maximum", "enum", "description") if key in plain}
            kept |= {key: schema[key] for key in ("default", "description") if schema.get(key) not in (None, [])}
            if plain["type"] == "array":
                way = "one field for each" if name in REPEATED else "in one text, by commas"
                kept["description"] = f"{kept.get('description', 'Several')} ({way})"
            fields[name] = {**kept, "type": "string" if plain["type"] == "array" else plain["type"]}
    return fields | {"prefix": {"type": "string", "description": "Keys begin with this."}}


class SearchBody(Options):
    """One search: by images, by text, or by both."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": {"id": ID}, "k": 20},
                {"query": [{"id": ID}, {"id": "MjAxOS9waWVyLmpwZw"}], "negatives": [{"id": "Y2F0LmpwZw"}]},
                {"text": "a red door", "k": 5},
            ]
        }
    )
    query: (
        ImageReference | Annotated[list[ImageReference], Field(min_length=1, max_length=16, fail_fast=True)] | None
    ) = None
    negatives: Annotated[list[ImageReference], Field(max_length=16, fail_fast=True)] = []

    @model_validator(mode="after")
    def _asks_for_something(self) -> "SearchBody":
        if self.query is None and self.text is None:
            raise ValueError("give a query (an id, a vector or a url) or a text")
        return self

    def queries(self) -> list[ImageReference]:
        """`query` as a list."""
        if self.query is None:
            return []
        return self.query if isinstance(self.query, list) else [self.query]


class BatchBody(Strict):
    """Several searches, answered in their order."""

    searches: Annotated[list[SearchBody], Field(min_length=1, max_length=64, fail_fast=True)]


class EmbedBody(Strict):
    """What is encoded: one image or one text."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": {"id": ID}, "box": [0, 0, 200, 200]}]})
    query: ImageReference | None = None
    box: Region | None = None
    text: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    preview: Annotated[bool, Field(description="Of a URL: a small JPEG comes with the answer.")] = False

    @model_validator(mode="after")
    def _asks_for_one(self) -> "EmbedBody":
        if (self.query is None) == (self.text is None):
            raise ValueError("give either a query or a text")
        if self.text is not None and self.box is not None:
            raise ValueError("a box goes with an image")
        return self


class MarkBody(Strict):
    """Whether two images of the collection show the same thing."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"a": ID, "b": "MjAxOS9waWVyLmpwZw", "same": True}]})
    a: Id
    b: Id
    same: bool


class LoginBody(Strict):
    """The token that the service was started with."""

    token: Annotated[str, Field(max_length=1024)]


class Found(BaseModel):
    """One result; `score` is a cosine, higher is better. `key` is for people, `id` for links.

    `confidence` is the probability that it shows the same thing as the query. `box` is the part that looks like the
    query: left, top, right, bottom in pixels of the upright image; null where the whole image does.
    """

    rank: int
    id: str
    key: str
    score: float
    confidence: Annotated[float | None, Field(description="null where none was measured.")] = None
    inliers: Annotated[
        int | None, Field(description="Points that agree with the query's, where re-ranked by them (`spatial`).")
    ] = None
    box: list[float] | None = None
    width: int
    height: int


class Away(BaseModel):
    """A collection that cannot answer at the moment, while others do."""

    name: str
    reason: str


class SearchAnswer(BaseModel):
    """Results, best first; fewer than `k` where there are fewer."""

    encoder: str
    k: int
    offset: int
    took_ms: float
    found: Annotated[
        bool | None, Field(description="Whether the best image shows the same thing as the query rather than not.")
    ] = None
    results: list[Found]
    damaged: Annotated[
        list[str], Field(description="Keys that searches left out, because what is stored of them is damaged.")
    ] = []
    mixes_encoders: Annotated[
        bool, Field(description="Of all collections: whether several encoders answered, whose scores do not compare.")
    ] = False
    away: Annotated[list[Away], Field(description="Of all collections: those that cannot answer at the moment.")] = []


class BatchAnswer(BaseModel):
    """One answer for each search, each either results or an error."""

    answers: list[dict[str, Any]]


class Entry(BaseModel):
    """One image of the collection."""

    id: str
    key: str
    bytes: int
    width: int
    height: int
    facts: Annotated[
        dict[str, str | int | float | bool | list[str]] | None,
        Field(description="What its file says of itself, as far as that is known; where one image is asked for."),
    ] = None


class Entries(BaseModel):
    """Images, evenly from all over the collection."""

    items: list[Entry]


class Here(BaseModel):
    """The image of the collection that an upload is: it has the same bytes, or the same pixels."""

    id: str
    key: str
    by: Literal["bytes", "pixels"]


class EmbedAnswer(BaseModel):
    """A vector of unit length, twice; `id` where the collection has this very image."""

    encoder: str
    fingerprint: str
    dim: int
    vector: list[float]
    vector_f16: str
    id: str | None
    key: str | None
    width: int | None
    height: int | None
    preview: str | None = Field(description="A small JPEG as a data URL, where the form asked for it.")
    here: Annotated[Here | None, Field(description="The upload in the collection, where the form asked for it.")] = None


class Size(BaseModel):
    """Of an upright image, in pixels."""

    width: int
    height: int


class Match(BaseModel):
    """A point of the query and the point of the item that it matches, in pixels of the upright images."""

    a: list[float]
    b: list[float]


class ExplainAnswer(BaseModel):
    """What matches between query (a) and item (b); `overlap` is the part of the item that the query covers.

    `box` is the stored part of the item that looks most like the query: left, top, right, bottom; null where the whole
    item does, and where there are no regions.
    """

    text: Annotated[str, Field(description="What the matches say, in one sentence.")]
    verdict: Annotated[
        Literal["agree", "few", "parts", "none"], Field(description="The same in a word; `few` may be chance.")
    ]
    of: str
    inliers: int
    model: str | None
    matrix: list[list[float]] | None
    overlap: list[list[float]] | None
    matches: list[Match]
    box: list[float] | None = None
    query: Size
    item: Size


class Method(BaseModel):
    """A re-ranker; one that compares pictures needs the pixels of a single query image."""

    name: str
    compares_pictures: bool


class Bounds(BaseModel):
    """The limits of one request."""

    upload_bytes: int
    pixels: int
    files: int
    k: int
    depth: int
    searches: int


class About(BaseModel):
    """What is served, and what requests may ask of it."""

    name: str
    images: int
    encoder: str
    dim: int
    fingerprint: str
    reads_text: bool
    allow_urls: bool
    writable: bool
    can_learn: bool = Field(description="Whether `adapt` can learn from marks: writable, and no search server.")
    rerankers: list[Method] = Field(description="What `rerank` may name here.")
    limits: Bounds
    names: Annotated[
        list[str], Field(description="With what the keys of each collection begin, where all are asked as one.")
    ] = []
    mixes_encoders: bool = False
    away: Annotated[list[Away], Field(description="Collections that cannot answer at the moment.")] = []


class OneServed(BaseModel):
    """A collection of this service: its API is below `path`."""

    name: str
    path: str
    is_this: bool
    key_prefix: Annotated[str, Field(description="With what its keys begin where all are asked as one.")] = ""


class AskedTogether(BaseModel):
    """Where the API of all collections asked as one is."""

    path: str
    is_this: bool


class AllServed(BaseModel):
    """The collections of this service, the first one at its top."""

    collections: list[OneServed]
    all: Annotated[AskedTogether | None, Field(description="None where the service has one collection.")] = None


class FacetValue(BaseModel):
    """A value, how many images have it, and the test of a filter (`where`) that it meets."""

    value: str
    count: int
    test: str


class Facet(BaseModel):
    """A column or a fact, with its commonest values."""

    name: str
    values: list[FacetValue]


class Facets(BaseModel):
    """What filters can be about here."""

    facets: list[Facet]


class MarkEntry(BaseModel):
    """A mark and its two images; an image that is not in the collection any more is null."""

    mark: str = Field(description="Its name in DELETE /v1/marks/{mark}.")
    same: bool
    a: Entry | None
    b: Entry | None


class Marks(BaseModel):
    """Marks, the newest first; `total` counts those that are not listed too."""

    total: int
    marks: list[MarkEntry]


class LearningState(BaseModel):
    """The newest run of `adapt` or of its undoing, and what the marks are enough for."""

    state: Literal["idle", "running", "done", "failed"]
    what: Literal["adapt", "undo"] | None
    seconds: float
    done: int = Field(description="Of `total` vectors, while an index is built again.")
    total: int
    outcome: dict[str, Any] | None = Field(description="As `lookalike adapt --json` has it.")
    error: dict[str, str] | None
    adapted: bool = Field(description="Whether the collection is adapted now.")
    marks: int
    groups: int = Field(description="Of two or more images that were marked as the same.")
    least_groups: int = Field(description="With fewer, no gain could be proven.")


class FindBody(Strict):
    """How alike duplicates are, and which of them is kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"level": "near", "keep": "best"}]})
    level: Annotated[
        Literal["exact", "same", "near", "similar"],
        Field(description="The same bytes; the same pixels; re-encoded or resized; also cropped, framed, turned."),
    ] = "near"
    keep: Literal["best", "oldest", "newest", "largest"] = "best"


class ApartBody(Strict):
    """A group of a run, by its number."""

    run: Annotated[int, Field(ge=1, le=2**53)]
    group: Annotated[int, Field(ge=0, le=10_000_000)]
    forget: bool = False


class Decision(Strict):
    """The images of a group that go."""

    group: Annotated[int, Field(ge=0, le=10_000_000)]
    trash: Annotated[list[Id], Field(max_length=10_000, fail_fast=True)]


class TrashBody(Strict):
    """What a person decided about the groups of a run."""

    run: Annotated[int, Field(ge=1, le=2**53)]
    decisions: Annotated[list[Decision], Field(max_length=20_000, fail_fast=True)] = []
    others: Annotated[bool, Field(description="Also the suggested extras of all other open groups.")] = False


class JobState(BaseModel):
    """The newest job of a kind: how far it is, and how it ended."""

    state: Literal["idle", "running", "done", "failed"]
    what: str | None
    seconds: float
    done: int
    total: int
    outcome: dict[str, Any] | None
    error: dict[str, str] | None


class Copy(BaseModel):
    """An image of a group; `quality` is of JPEG files."""

    id: str
    key: str
    width: int
    height: int
    bytes: int
    suggestion: Literal["keep", "extra", "look"]
    level: Literal["exact", "same", "near", "similar"] | None
    taken: str | None = None
    camera: str | None = None
    format: str | None = None
    quality: int | None


class CopyGroup(BaseModel):
    """Copies of a picture, the kept one first, and why that one is kept."""

    number: int
    state: Literal["open", "apart", "settled"]
    reason: str
    members: list[Copy]


class RunTotals(BaseModel):
    """What the newest search for duplicates found; `extras` are of open groups."""

    run: int
    level: str
    keep: str
    groups_total: int
    open: int
    extras: int
    extra_bytes: int
    unseen: int


class Duplicates(BaseModel):
    """The search for duplicates, the moving of files, and some groups."""

    finding: JobState
    moving: JobState
    run: RunTotals | None
    groups: list[CopyGroup]


class Outcome(BaseModel):
    """How many files go and stay, with the reasons of some that stay."""

    moved: int
    stayed: int
    reasons: list[dict[str, str]]
    keys: list[str]


class MovedFile(BaseModel):
    """A file that was moved away."""

    key: str
    at: str


class Moved(BaseModel):
    """Files that were moved away and not put back."""

    total: int
    moved: list[MovedFile]


class Added(BaseModel):
    """The items of uploaded images."""

    items: list[Entry]


class Removed(BaseModel):
    """The image that was taken out of the collection; its file stays where it is."""

    id: str
    key: str


class State(BaseModel):
    """The state of the process in one word."""

    status: str


class OldResult(BaseModel):
    """A result as the report's service gave it: a path below /images/, and the squared Euclidean distance."""

    image_path: str
    distance: float


class OldAnswer(BaseModel):
    """Results as the report's service gave them, nearest first."""

    results: list[OldResult]
