"""Texts to token numbers, by the tokenizer files of a CLIP or SigLIP checkpoint."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EncoderError
from lookalike.utils.extras import install_hint

# Far beyond what any text tower reads; later characters cannot change the first tokens.
LONGEST_TEXT = 20_000
# transformers writes 10 ** 30 for "no limit".
LONGEST_SEQUENCE = 4096

log = logging.getLogger(__name__)


class Tokens:
    """The tokenizer of a checkpoint folder, which pads or cuts every text to `length` tokens.

    SigLIP 2 was trained on lower-case text with an end token, which its Gemma tokenizer does not make by itself; both
    are added here, as in transformers' Siglip2Tokenizer.
    """

    def __init__(self, folder: Path, length: int | None = None) -> None:
        """`length` None: as in tokenizer_config.json, else 77 for CLIP and 64 for SigLIP.

        Raises EncoderError for a tokenizer.json that is missing or damaged, and without the extra `text`.
        """
        config = _read_config(folder / "tokenizer_config.json")
        self._tokenizer = tokenizer = _load(folder / "tokenizer.json")
        kind = str(config.get("tokenizer_class", ""))
        self.is_clip = tokenizer.token_to_id("<|startoftext|>") is not None
        is_gemma = "Gemma" in kind or "Siglip2" in kind or (not kind and tokenizer.token_to_id("<bos>") is not None)
        self.length = length or _stated_length(config) or (77 if self.is_clip else 64)
        if is_gemma or config.get("do_lower_case"):
            _lower(tokenizer)
        if is_gemma:
            _end(tokenizer, config)
        fallback = "<|endoftext|>" if self.is_clip else "<pad>" if is_gemma else "</s>"
        pad = _content(config.get("pad_token")) or fallback
        pad_id = tokenizer.token_to_id(pad)
        if pad_id is None:
            raise EncoderError(f"{folder / 'tokenizer.json'} has no token {pad!r} to pad with")
        side = config.get("padding_side", "right")
        tokenizer.enable_truncation(self.length)
        tokenizer.enable_padding(
            length=self.length, pad_id=pad_id, pad_token=pad, direction=side if side in ("left", "right") else "right"
        )

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Texts to token numbers and a mask that is 0 for padding, both (n, length).

        A longer text is cut off before the end token, as in the model's own processor, with a warning.
        """
        # Bytes that are not UTF-8 come from the command line as lone surrogates, which no tokenizer takes.
        clean = [text[:LONGEST_TEXT].encode("utf-8", "replace").decode() for text in texts]
        encodings = self._tokenizer.encode_batch(clean)
        for text, encoding in zip(texts, encodings, strict=True):
            if encoding.overflowing:
                log.warning("only the first %d tokens of %r are read", self.length, f"{text[:40]}...")
        ids = np.array([encoding.ids for encoding in encodings], np.int64).reshape(-1, self.length)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64).reshape(-1, self.length)
        return ids, mask


def _load(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EncoderError(f"reading text needs `{install_hint('text')}`") from error
    if not path.is_file():
        raise EncoderError(f"{path} is missing; text cannot be read without it")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        raise EncoderError(f"{path} cannot be read ({' '.join(str(error).split())[:100]})") from error


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise EncoderError(f"{path} is not a JSON object")
    return config


def _stated_length(config: dict[str, Any]) -> int | None:
    length = config.get("model_max_length")
    return int(length) if isinstance(length, int | float) and 2 < length <= LONGEST_SEQUENCE else None


def _lower(tokenizer: Any) -> None:
    """Make the tokenizer lower-case texts, unless it does so already."""
    from tokenizers import normalizers

    present = tokenizer.normalizer
    if present is None:
        tokenizer.normalizer = normalizers.Lowercase()
    elif "Lowercase" not in repr(present):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), present])


def _end(tokenizer: Any, config: dict[str, Any]) -> None:
    """Add an end token after every text and, where the config says so, a begin token before it."""
    from tokenizers import processors

    begin, end = _content(config.get("bos_token")) or "<bos>", _content(config.get("eos_token")) or "<eos>"
    tokens = ([begin] if config.get("add_bos_token") else []) + [end]
    numbers = [(token, tokenizer.token_to_id(token)) for token in tokens]
    missing = [token for token, number in numbers if number is None]
    if missing:
        raise EncoderError(f"the tokenizer has no token {missing[0]!r}")
    single = " ".join([*tokens[:-1], "$A", end])
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=numbers)


def _content(token: object) -> str | None:
    """A token as configs write it: bare, or as an object with its `content`."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None
