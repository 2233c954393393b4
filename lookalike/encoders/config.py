"""A Hugging Face config.json to checked values, for models of one family."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.errors import EncoderError

# Far above the largest published model (giant: 1536 wide, 40 deep); a larger config is a mistake or an attack.
LARGEST = {
    "hidden_size": 8192,
    "intermediate_size": 65536,
    "num_hidden_layers": 256,
    "num_attention_heads": 256,
    "num_register_tokens": 1024,
}


def read_config(path: Path) -> dict[str, Any]:
    """The table in a config.json, empty where it holds something else; raises EncoderError for an unreadable file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EncoderError(f"{path} is missing; a checkpoint is model.safetensors with its config.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(f"{path} is no readable JSON file ({type(error).__name__})") from error
    return values if isinstance(values, dict) else {}


@dataclass(frozen=True)
class Config:
    """The values of a config.json; each is checked when it is read. `family` is for messages, such as DINOv2."""

    path: Path
    values: dict[str, Any]
    family: str

    def number(self, name: str, default: int) -> int:
        """A whole number above zero; raises EncoderError for anything else, or one beyond `LARGEST`."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST.get(name, 2**31):
            raise EncoderError(f"{self.path}: {name} is {value!r}, which no {self.family} has")
        return value

    def positive(self, name: str, default: float, limit: float) -> float:
        """A number above zero, up to `limit`; raises EncoderError for anything else."""
        value = self.values.get(name, default)
        if not is_positive(value, limit):
            raise EncoderError(f"{self.path}: {name} is {value!r}, which no {self.family} has")
        return float(value)

    def must_be(self, name: str, required: object) -> None:
        """Raises EncoderError where the value is there and differs."""
        value = self.values.get(name, required)
        if value != required:
            raise EncoderError(f"{self.path}: {name} is {value!r}, not {required!r}; no {self.family} is made so")

    def heads(self, width: int, default: int) -> int:
        """The number of attention heads, which must share `width` evenly."""
        heads = self.number("num_attention_heads", default)
        if width % heads:
            raise EncoderError(f"{self.path}: hidden_size {width} cannot be shared among {heads} heads")
        return heads


def is_positive(value: object, limit: float) -> bool:
    """Whether a value is a number above zero and no larger than `limit`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= limit
