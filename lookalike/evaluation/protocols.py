"""Protocols: which setups are scored, by which rule of average precision, and which figures at k are reported."""

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.benchmark import Benchmark
from lookalike.evaluation.metrics import DENOMINATORS, Rule

AT_K = ("map", "precision", "recall", "hit_rate", "ndcg")
RULES: dict[Rule, str] = {
    "trapezoid": "trapezoid under precision over recall, starting from precision 1, over R",
    "step": "mean of the precision at each hit, over R",
}


@dataclass(frozen=True)
class Protocol:
    """`setups` of the ground truth, the `rule` of average precision, the `ks`, and the figures `at` k.

    `needs_k` is scored wherever the gallery has as many results, because the protocol's own figure is at that k.
    `micro` adds the figures over the pairs of all queries. `retrieved` replays the report's fault:
    that many results are judged, whatever k is.
    """

    name: str
    setups: tuple[str, ...]
    rule: Rule
    ks: tuple[int, ...]
    at: tuple[str, ...] = AT_K
    needs_k: int | None = None
    retrieved: int | None = None
    micro: bool = False

    def divided_by(self, figure: str) -> str:
        """The denominator of a figure, to be printed with it."""
        fault = f", though only {self.retrieved} were retrieved" if self.retrieved else ""
        return DENOMINATORS[figure] + fault


REVISITED_SETUPS = ("easy", "medium", "hard")
NEEDS_LABELS = "easy and hard are told apart by a gnd*.pkl beside images/: `lookalike evaluate revisited --root DIR`"
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("original", ("all",), "trapezoid", (5, 10, 15, 20)),
        Protocol("revisited", REVISITED_SETUPS, "trapezoid", (1, 5, 10), ("revisited_precision", *AT_K)),
        Protocol("landmarks", ("all",), "step", (100,), needs_k=100),
        Protocol("ilias", ("all",), "step", (1000,), needs_k=1000),
        Protocol("copies", ("all",), "step", (1, 10), micro=True),
        Protocol("report", ("all",), "trapezoid", (5, 10, 15, 20), ("map", "precision"), retrieved=5),
    )
}


def whole_ks(ks: Sequence[int]) -> tuple[int, ...]:
    """Each k once; raises EvaluationError for a k below 1."""
    if min(ks) < 1:
        raise EvaluationError(f"k = {min(ks)} is not a number of results; give 1 or more")
    return tuple(dict.fromkeys(ks))


def protocol_for(benchmark: Benchmark, name: str | None = None) -> Protocol:
    """The protocol `name`, or the benchmark's own; raises EvaluationError where the ground truth lacks its setups."""
    chosen = name or benchmark.protocol
    if chosen not in PROTOCOLS:
        raise EvaluationError(f"no protocol {chosen!r}; there are {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[chosen]
    setups = tuple(benchmark.queries[0].truths)
    if not set(protocol.setups) <= set(setups):
        needs = f"; {NEEDS_LABELS}" if protocol.setups == REVISITED_SETUPS else ""
        raise EvaluationError(
            f"protocol {chosen} scores the setups {', '.join(protocol.setups)}, "
            f"{benchmark.name} has {', '.join(setups)}; use --protocol {benchmark.protocol}{needs}"
        )
    return protocol
