"""A name to a model's weights: from a local path, the hub's cache on this machine, or the hub itself.

The first download of a model records its revision and the SHA-256 of its files; later ones must match (trust on first
use). URLs and the layout of the cache are those of `huggingface_hub`, with its variables HF_HOME, HF_HUB_CACHE,
HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN. It is imported only where something is fetched.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from lookalike.encoders import ledger, web_weights
from lookalike.encoders import repository as repositories
from lookalike.errors import EncoderError
from lookalike.types import Progress
from lookalike.utils.files import sha256_of

APACHE, MIT, DINOV3 = "Apache-2.0", "MIT", "DINOv3 License"


@dataclass(frozen=True)
class PublishedModel:
    """A repository of the hub, the files in it that are used, and what a user wants to know before they are fetched.

    `megabytes`: of the weights on disk. `gated`: they are fetched only with the token of an account that has accepted
    the licence, which restricts what they may be used for.
    """

    repository: str
    files: tuple[str, ...] = ("config.json", "model.safetensors")
    license: str | None = None
    megabytes: int | None = None
    gated: bool = False

    @property
    def page(self) -> str:
        """Where its licence can be read and accepted."""
        return f"https://huggingface.co/{self.repository}"


@dataclass(frozen=True)
class ShippedWeights:
    """What an encoder needs that is part of this package."""

    license: str
    megabytes: int


def _dinov2(repository: str, megabytes: int) -> PublishedModel:
    return PublishedModel(repository, license=APACHE, megabytes=megabytes)


def _dinov3(repository: str, megabytes: int) -> PublishedModel:
    return PublishedModel(repository, license=DINOV3, megabytes=megabytes, gated=True)


def _towers(repository: str, license_name: str, megabytes: int, suffix: str = "") -> PublishedModel:
    """An ONNX export of an image and a text tower; `suffix` is the precision's."""
    described = ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
    graphs = (f"onnx/vision_model{suffix}.onnx", f"onnx/text_model{suffix}.onnx")
    return PublishedModel(repository, (*described, *graphs), license_name, megabytes)


SIGLIP2, CLIP_B32 = "onnx-community/siglip2-base-patch16-224-ONNX", "Xenova/clip-vit-base-patch32"
HUB = {
    "dinov2-small": _dinov2("facebook/dinov2-small", 88),
    "dinov2-base": _dinov2("facebook/dinov2-base", 346),
    "dinov2-large": _dinov2("facebook/dinov2-large", 1217),
    "dinov2-giant": _dinov2("facebook/dinov2-giant", 4546),
    "dinov2-small-reg": _dinov2("facebook/dinov2-with-registers-small", 88),
    "dinov2-base-reg": _dinov2("facebook/dinov2-with-registers-base", 346),
    "dinov2-large-reg": _dinov2("facebook/dinov2-with-registers-large", 1217),
    "dinov2-giant-reg": _dinov2("facebook/dinov2-with-registers-giant", 4546),
    "dinov3-small": _dinov3("facebook/dinov3-vits16-pretrain-lvd1689m", 86),
    "dinov3-base": _dinov3("facebook/dinov3-vitb16-pretrain-lvd1689m", 343),
    "dinov3-large": _dinov3("facebook/dinov3-vitl16-pretrain-lvd1689m", 1213),
    "siglip2-base": _towers(SIGLIP2, APACHE, 1501),
    "siglip2-base-fp16": _towers(SIGLIP2, APACHE, 751, "_fp16"),
    "siglip2-base-int8": _towers(SIGLIP2, APACHE, 382, "_quantized"),
    "clip-vit-b32": _towers(CLIP_B32, MIT, 606),
    "clip-vit-b32-fp16": _towers(CLIP_B32, MIT, 303, "_fp16"),
    "clip-vit-b32-int8": _towers(CLIP_B32, MIT, 154, "_quantized"),
    "clip-vit-b16": _towers("Xenova/clip-vit-base-patch16", MIT, 599),
    "clip-vit-l14": _towers("Xenova/clip-vit-large-patch14", MIT, 1711),
}
SHIPPED = {
    "efficientnet-lite0": ShippedWeights(APACHE, 19),
    "rootsift": ShippedWeights(APACHE, 4),
    "thumbnail": ShippedWeights(APACHE, 0),
}
TIMEOUT_SECONDS = 10.0
DECIDE_SECONDS = 2.0
"""For how long the hub may be silent before it counts as out of reach."""


class Unavailable(EncoderError):  # noqa: N818 - says what is wrong
    """Weights that are not on this machine and cannot be fetched; `why` is the short cause."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"the weights of {name} are not on this machine and cannot be fetched ({why}): run `lookalike encoders "
            f"pull {name}` where there is a network and copy {hub_cache()} here, give a local path, or use "
            "--encoder efficientnet-lite0, which needs no download"
        )
        self.why = why


def model(name: str) -> PublishedModel:
    """The entry of a name in `HUB`; any other name is a hub id."""
    return HUB.get(name) or PublishedModel(name)


def facts(name: str) -> PublishedModel | web_weights.PublishedFile | ShippedWeights | None:
    """Licence and size of the encoder of this name; None where nothing is known of it."""
    return HUB.get(name) or web_weights.FILES.get(name) or SHIPPED.get(name)


def resolve(name: str | Path) -> Path:
    """The local folder (or file) of a name in `HUB`, a hub id or a path; fetched where needed.

    Raises EncoderError, at once, where there is neither a copy nor a network.
    """
    if Path(name).exists():
        return Path(name)
    return find(str(name)) or pull(str(name))


def is_fetched(name: str) -> bool:
    """Whether the weights of this name come from the hub or a URL; other encoders bring their own."""
    return name in HUB or name in web_weights.FILES


def is_cached(name: str) -> bool:
    """Whether a name's weights are on this machine."""
    return find(name) is not None


def find(name: str) -> Path | None:
    """The folder with a model's files in the hub's cache, or the file from a URL; None where it is not here.

    Does not use the network.
    """
    if name in web_weights.FILES:
        return web_weights.find(name)
    published = model(name)
    repository = repository_folder(published)
    recorded = ledger.recorded(published.repository)
    try:
        revision = recorded["revision"] if recorded else (repository / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        return None
    folder = repository / "snapshots" / Path(revision).name
    is_whole = all((folder / file).is_file() for file in published.files)
    return folder if is_whole or (name not in HUB and repositories.is_whole(folder)) else None


def repository_folder(published: PublishedModel) -> Path:
    """The folder of this model in the hub's cache."""
    return hub_cache() / f"models--{published.repository.replace('/', '--')}"


def hub_cache() -> Path:
    """The hub's own cache folder, by its own variables."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface")
    return Path(home) / "hub"


def pull(name: str, progress: Progress | None = None) -> Path:
    """Fetch a model into the hub's cache and return its folder; an interrupted download is resumed.

    `progress` counts the bytes of the current file. Raises EncoderError.
    """
    if name in web_weights.FILES:
        return web_weights.pull(name, progress)
    published = model(name)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        folder = find(name)
        if folder is None:
            raise Unavailable(name, "HF_HUB_OFFLINE is set")
        return folder
    if why := _out_of_reach():
        raise Unavailable(name, why)
    record = ledger.recorded(published.repository)
    revision, digests, listed = _published(name, published, record["revision"] if record else None)
    if name not in HUB:
        published = replace(published, files=repositories.chosen(published.repository, *listed))
    # Several models may share a repository: files that only this one has are not recorded yet.
    recorded = record["sha256"] if record else {}
    expected = digests | recorded
    paths = [_fetch(name, published, file, revision, progress) for file in published.files]
    if name not in HUB and (beside := repositories.beside(published.files, paths)):
        paths += [_fetch(name, published, file, revision, progress) for file in beside]
        published = replace(published, files=(*published.files, *beside))
    actual = {file: sha256_of(path) for file, path in zip(published.files, paths, strict=True)}
    for file, sha256 in actual.items():
        if expected.get(file, sha256) != sha256:
            paths[published.files.index(file)].resolve().unlink()
            raise EncoderError(
                f"{published.repository}/{file} has SHA-256 {sha256[:12]}…, not {expected[file][:12]}… as "
                f"{'recorded at the first download' if file in recorded else 'published'}; "
                "it was deleted, fetch it again"
            )
    if not actual.keys() <= recorded.keys():
        ledger.record(published.repository, {"revision": revision, "sha256": recorded | actual})
    return Path(paths[0]).parents[published.files[0].count("/")]


def _out_of_reach() -> str:
    """Why the hub cannot be reached, else nothing; decided at once, where its client would try for six seconds."""
    from huggingface_hub import constants

    from lookalike.utils.download import out_of_reach

    return out_of_reach(constants.ENDPOINT, DECIDE_SECONDS)


def _published(
    name: str, published: PublishedModel, revision: str | None
) -> tuple[str | None, dict[str, str], tuple[list[str], str | None]]:
    """The revision, the SHA-256 of those files for which the hub has one, and the names of all with the model_type."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().model_info(published.repository, revision=revision, files_metadata=True, timeout=TIMEOUT_SECONDS)
    except GatedRepoError as error:
        raise _gated(published) from error
    except RepositoryNotFoundError as error:
        if published.gated:
            raise _gated(published) from error
        raise EncoderError(
            f"{published.repository}: no such model on the hub, or it wants a token (HF_TOKEN)"
        ) from error
    except RevisionNotFoundError as error:
        raise EncoderError(f"{published.repository}: the hub no longer has revision {revision}") from error
    except Exception as error:
        raise Unavailable(name, _short(error)) from error
    files = info.siblings or []
    digests = {file.rfilename: file.lfs.sha256 for file in files if file.lfs}
    kind = (info.config or {}).get("model_type")
    return info.sha, digests, ([file.rfilename for file in files], kind)


def _fetch(name: str, published: PublishedModel, file: str, revision: str | None, progress: Progress | None) -> Path:
    """One file into the hub's cache; fetched here, as the hub's own client always starts from the beginning."""
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError

    from lookalike.utils.download import fetch

    try:
        url = hf_hub_url(published.repository, file, revision=revision)
        metadata = get_hf_file_metadata(url, timeout=TIMEOUT_SECONDS)
        blob = repository_folder(published) / "blobs" / str(metadata.etag)
        # The token is for the hub, not for the store that it redirects to.
        at_home, token = urlsplit(metadata.location).netloc == urlsplit(url).netloc, get_token()
        headers = {"Authorization": f"Bearer {token}"} if at_home and token else {}
        fetch(metadata.location, blob, progress, headers, metadata.size)
        # The blob is there already: this makes the link with its name.
        return Path(hf_hub_download(published.repository, file, revision=revision, cache_dir=hub_cache()))
    except GatedRepoError as error:
        raise _gated(published) from error
    except EntryNotFoundError as error:
        raise EncoderError(f"{published.repository} has no {file}, which this model needs") from error
    except Exception as error:
        raise Unavailable(name, _short(error)) from error


def _gated(published: PublishedModel) -> EncoderError:
    under = f"under the {published.license}" if published.license else "under a licence"
    return EncoderError(
        f"{published.repository} is published {under}, which must be accepted: do so at {published.page} and set "
        "HF_TOKEN to a token of that account"
    )


def _short(error: BaseException) -> str:
    """The message of the root cause of an error, in at most 80 characters."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return " ".join(str(error).split())[:80] or type(error).__name__
