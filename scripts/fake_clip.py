"""Write a CLIP or SigLIP 2 checkpoint of random weights in the layout of the hub's ONNX exports, for tests.

    python scripts/fake_clip.py clip FOLDER [--seed 0]
    python scripts/fake_clip.py siglip2 FOLDER

It answers quickly and means nothing. Needs the extra `test` (torch, transformers, onnx).
"""

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 32
SCRIPTS = {
    "latin": (0x61, 0x7A), "accents": (0xC0, 0x17F), "greek": (0x391, 0x3C9), "cyrillic": (0x410, 0x44F),
    "armenian": (0x531, 0x586), "hebrew": (0x5D0, 0x5EA), "arabic": (0x621, 0x64A), "devanagari": (0x905, 0x939),
    "bengali": (0x985, 0x9B9), "tamil": (0xB85, 0xBB9), "thai": (0xE01, 0xE2E), "georgian": (0x10A0, 0x10FF),
    "ethiopic": (0x1200, 0x1248), "khmer": (0x1780, 0x17A2), "hiragana": (0x3041, 0x3096), "katakana": (0x30A1, 0x30FA),
    "han": (0x4E00, 0x4FFF), "hangul": (0xAC00, 0xAD00), "cherokee": (0x13A0, 0x13F4), "full width": (0xFF01, 0xFF5E),
    "symbols": (0x2190, 0x22FF), "emoji": (0x1F300, 0x1F64F), "mathematical": (0x1D400, 0x1D4FF),
}  # fmt: skip
SPECIAL = [
    "", " ", "a red door", "A RED DOOR", "It's the cats' door, isn't it?", "don't we'll they've I'd", "1234 5.67 ½ ²",
    "  spaces \t tabs \n lines  ", "👩‍👩‍👧‍👦 family", "🇫🇷🇩🇪 flags", "👍🏽 skin",
    "e\u0301 decomposed é composed", "İstanbul ISTANBUL ı",
    "ΣΊΣΥΦΟΣ ends in ς", "ß ẞ SS", "ﬁ ligature", "zero\u200bwidth\u200djoiner", "right\u202eleft", "\ufeffbom",
    "nul\x00inside",
    "<|startoftext|> a <|endoftext|> b", "<eos><pad>text<bos>", "▁already▁marked", "...!!!???", "a" * 300,
    "word " * 200,
    "終わりのない文" * 40, "🎉" * 100, "https://example.org/?q=a&b=c#d",
    "\u0e01\u0e33\u0e25\u0e31\u0e07", "x\u0327\u0301\u0323y",
]  # fmt: skip


def strings(count: int, seed: int = 0) -> Iterator[str]:
    """Texts in many scripts, with capitals, marks, digits, emoji, odd spaces; every twentieth is over-long."""
    rng = np.random.default_rng(seed)
    yield from SPECIAL[:count]
    for number in range(count - len(SPECIAL)):
        words = []
        for _ in range(int(rng.integers(60, 200)) if number % 20 == 0 else int(rng.integers(1, 12))):
            first, last = SCRIPTS[str(rng.choice(list(SCRIPTS)))]
            word = "".join(chr(code) for code in rng.integers(first, last + 1, rng.integers(1, 9)))
            words.append(word.upper() if rng.random() < 0.2 else word + str(rng.choice(["", ",", "!", "'s", "42"])))
        yield str(rng.choice([" ", "  ", "-", "\n"])).join(words)


def train(special: list[str], byte_fallback: bool) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A small vocabulary with its merges."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    suffix: dict[str, Any] = {} if byte_fallback else {"end_of_word_suffix": "</w>"}
    tokenizer = Tokenizer(models.BPE(**suffix))
    if byte_fallback:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        special = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = [] if byte_fallback else pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1400, special_tokens=special, initial_alphabet=alphabet, **suffix,
        show_progress=False, limit_alphabet=400,
    )  # fmt: skip
    tokenizer.train_from_iterator([text.lower() for text in strings(400, seed=9)], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = dict(model["vocab"])
    if not byte_fallback:
        for letter in alphabet:
            vocabulary.setdefault(letter, len(vocabulary))
            vocabulary.setdefault(f"{letter}</w>", len(vocabulary))
    return vocabulary, [(first, second) for first, second in model["merges"]]


def make_tokenizer(family: str) -> Any:
    """The tokenizer that the hub's files of this family describe."""
    from transformers import CLIPTokenizer, GemmaTokenizer

    if family == "clip":
        vocabulary, merges = train(["<|startoftext|>", "<|endoftext|>"], byte_fallback=False)
        return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
    vocabulary, merges = train(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], byte_fallback=True)
    return GemmaTokenizer(
        vocab=vocabulary,
        merges=merges,
        add_bos_token=False,
        add_eos_token=True,
        padding_side="right",
        model_max_length=64,
    )


def make_model(family: str, vocabulary: int, seed: int) -> Any:
    """A tiny model of the family."""
    import torch
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    torch.manual_seed(seed)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = tower | {"image_size": SIDE, "patch_size": 8}
    text = tower | {"vocab_size": vocabulary}
    if family == "clip":
        text |= {"max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    else:
        text |= {"max_position_embeddings": 64, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    # Fresh weights are so small that all inputs give nearly the same vector; what does not depend on them stays small.
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "position" not in name:
            torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def export(model: Any, family: str, folder: Path) -> None:
    """Both towers as the hub's exporter names their inputs and outputs."""
    import torch

    class Tower(torch.nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.model, self.kind = model, kind

        def forward(self, inputs: Any) -> Any:
            if self.kind == "vision":
                pooled = self.model.vision_model(inputs).pooler_output
                return self.model.visual_projection(pooled) if family == "clip" else pooled
            pooled = self.model.text_model(inputs).pooler_output
            return self.model.text_projection(pooled) if family == "clip" else pooled

    length = 77 if family == "clip" else 64
    examples = {"vision": torch.zeros(2, 3, SIDE, SIDE), "text": torch.ones(2, length, dtype=torch.int64)}
    names = {"vision": ("pixel_values", "image_embeds"), "text": ("input_ids", "text_embeds")}
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    for kind, (given, embeds) in names.items():
        output = embeds if family == "clip" else "pooler_output"
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Tower(kind).eval(), (examples[kind],), folder / "onnx" / f"{kind}_model.onnx", dynamo=False,
                input_names=[given], output_names=[output], dynamic_axes={given: {0: "batch"}, output: {0: "batch"}},
            )  # fmt: skip


def preprocessing(family: str) -> dict[str, Any]:
    """preprocessor_config.json as the hub has it, but for the size."""
    common = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255}
    if family == "siglip2":
        half = [0.5, 0.5, 0.5]
        return common | {"resample": 2, "size": {"height": SIDE, "width": SIDE}, "image_mean": half, "image_std": half}
    return common | {
        "resample": 3, "size": {"shortest_edge": SIDE}, "do_center_crop": True,
        "crop_size": {"height": SIDE, "width": SIDE}, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }  # fmt: skip


def write(family: str, folder: Path, seed: int = 0) -> tuple[Any, Any]:
    """The whole checkpoint; also the transformers model and tokenizer that it was made from."""
    tokenizer = make_tokenizer(family)
    model = make_model(family, len(tokenizer), seed)
    export(model, family, folder)
    tokenizer.save_pretrained(folder)
    model.config.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing(family), indent=2), encoding="utf-8")
    return model, tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=["clip", "siglip2"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.family, options.folder, options.seed)
    print(f"{options.folder}: a {options.family} of random weights")


if __name__ == "__main__":
    main()
