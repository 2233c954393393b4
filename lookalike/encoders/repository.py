"""The names of a repository's files to those that make an encoder: a checkpoint, CLIP's towers, or an ONNX file."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from lookalike.encoders.files import CONFIG, PROCESSOR, WEIGHTS
from lookalike.encoders.graph_files import inner_locations
from lookalike.errors import EncoderError

TOWERS = ("onnx/vision_model.onnx", "onnx/text_model.onnx")
TEXTS = ("tokenizer.json", "tokenizer_config.json")
GRAPHS = ("onnx/model.onnx", "model.onnx")
BUILT = ("dinov2", "dinov3_vit")
"""How the `model_type` of a config.json begins whose safetensors are read."""


def graph_in(names: Collection[str]) -> str | None:
    """The ONNX file among these: onnx/model.onnx, else model.onnx, else the only one beside these."""
    graphs = [name for name in names if is_graph(name) and name.rpartition("/")[0] in ("", "onnx")]
    return next((name for name in GRAPHS if name in names), graphs[0] if len(graphs) == 1 else None)


def kind_of(path: Path) -> str:
    """A name in `KINDS` for a path; `dinov2` also where there is nothing that can be read, which that says."""
    if not path.is_dir():
        return "onnx" if is_graph(path) else "sscd" if path.suffix == ".pt" else "dinov2"
    names = local_names(path)
    if has_towers(names):
        return "clip"
    is_checkpoint = WEIGHTS in names and (graph_in(names) is None or _model_type(path).startswith(BUILT))
    if is_checkpoint or any(name.endswith(".pth") for name in names):
        return "dinov2"
    if any(map(is_graph, names)):
        return "onnx"
    return "clip" if (path / "onnx").is_dir() else "dinov2"


def is_graph(path: str | Path) -> bool:
    """Whether a file is one of ONNX, by its name."""
    return Path(path).suffix.lower() == ".onnx"


def _model_type(folder: Path) -> str:
    try:
        return str(json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("model_type", ""))
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""


def has_towers(names: Collection[str]) -> bool:
    """Whether there is a tower of CLIP's, in any precision."""
    return any(name.startswith(("onnx/vision_model", "onnx/text_model")) for name in names)


def chosen(repository: str, names: Collection[str], kind: str | None) -> tuple[str, ...]:
    """The files of an encoder among all of a repository's; `kind` is the model_type of its config.json, where known.

    Safetensors where the kind is one that is read, or where there is no ONNX file; else the ONNX file, after the
    configs that say how images are prepared, so that it is there only where they are. CLIP's towers come before both.
    Raises EncoderError.
    """
    if set(TOWERS) <= set(names):
        return (*(name for name in (PROCESSOR, CONFIG, *TEXTS) if name in names), *TOWERS)
    graph, is_checkpoint = graph_in(names), {CONFIG, WEIGHTS} <= set(names)
    if is_checkpoint and (graph is None or (kind or "").startswith(BUILT)):
        return (CONFIG, WEIGHTS)
    if graph is None:
        raise EncoderError(
            f"{repository} on the hub has neither {WEIGHTS} with {CONFIG} nor one ONNX file ({', '.join(GRAPHS)}); "
            "download the file that you want, and give its path"
        )
    return (*(name for name in (PROCESSOR, CONFIG) if name in names), graph)


def beside(files: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """The files of a repository that hold the weights of the ONNX files among these, which lie at `paths`."""
    graphs = [(file, path) for file, path in zip(files, paths, strict=True) if is_graph(file)]
    return [(PurePosixPath(file).parent / name).as_posix() for file, path in graphs for name in inner_locations(path)]


def is_whole(folder: Path) -> bool:
    """Whether a folder of the hub's cache holds an ONNX file, or both towers, and the files beside them."""
    names = local_names(folder)
    graphs = TOWERS if set(TOWERS) <= set(names) else (graph_in(names),)
    return all(graph and _has_weights(folder / graph) for graph in graphs)


def _has_weights(graph: Path) -> bool:
    return all(graph.with_name(name).is_file() for name in inner_locations(graph))


def local_names(folder: Path) -> list[str]:
    """The files that decide what a folder is, as paths with slashes."""
    paths = [*folder.glob("*"), *folder.glob("onnx/*")]
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def local_graph(path: Path) -> Path:
    """The ONNX file at a path, or in a folder; raises EncoderError where there is none, or more than one."""
    if not path.is_dir():
        return path
    names = local_names(path)
    if graph := graph_in(names):
        return path / graph
    graphs = [name for name in names if is_graph(name)]
    raise EncoderError(f"{path} holds {', '.join(graphs) or 'no .onnx file'}; give one such file")
