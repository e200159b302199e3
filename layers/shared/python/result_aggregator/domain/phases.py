"""The registry of processing phases.

A phase is one entry here and one module `result_aggregator.contracts.<name>` that reads its events. Topics, event
source mappings, stored registers and the fields of an API answer follow from the entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

METRICS = "metrics"
"""The result whose value is an object: the numbers that a phase measured, by the names of `Phase.metrics`."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One processing phase.

    `name` names its registers, its module and its `<name>_status` and `<name>_error` in answers.
    `results` are the values its essay register holds beside status and error; an answer shows each as
    `<prefix>_<value>`. `unseen` are values it holds that no field of the phase shows. `metrics` names the numbers of the
    result "metrics". Registers store values by their place in `stored` and in `metrics`, without names: none may be moved
    or removed, and a new one takes the last place. `short` stands for the name in a batch item. `topics` carry one essay's
    result of this phase per record.
    """

    name: str
    results: tuple[str, ...]
    topics: tuple[str, ...] = ()
    prefix: str = ""
    short: str = ""
    metrics: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    stored: tuple[str, ...] = field(init=False)
    """The values of the register, in the order that it stores them."""
    answer_fields: tuple[tuple[str, str], ...] = field(init=False)
    """(field of the answer, key in the register), in the order of the answer."""
    completed_at: str = field(init=False)
    """The field of the answer for the time that the phase ended at, which is the register's version."""

    def __post_init__(self) -> None:
        prefix = self.prefix or self.name
        object.__setattr__(self, "short", self.short or self.name)
        fields = (
            (f"{self.name}_status", "status"),
            *((f"{prefix}_{result}", result) for result in self.results),
            (f"{self.name}_error", "error"),
        )
        object.__setattr__(self, "stored", ("status", "error", *self.results, *self.unseen))
        object.__setattr__(self, "answer_fields", fields)
        object.__setattr__(self, "completed_at", f"{self.name}_completed_at")

    def pack(self, result: dict[str, Any]) -> list[Any]:
        """A result by name as its register stores it: in order, without names, and without what is missing at the end."""
        values = [
            _trimmed([value.get(metric) for metric in self.metrics]) if name == METRICS and value else value
            for name in self.stored
            for value in (result.get(name),)
        ]
        return _trimmed(values)

    def unpack(self, payload: Any) -> dict[str, Any]:
        """What a register stores, by name. Older registers store objects."""
        if isinstance(payload, dict):
            return payload
        found = {name: value for name, value in zip(self.stored, payload, strict=False) if value is not None}
        if METRICS in found:
            found[METRICS] = self.measured(found[METRICS])
        return found

    def measured(self, values: Any) -> dict[str, Any]:
        """A register's metrics, by name."""
        if isinstance(values, dict):
            return values
        return {name: value for name, value in zip(self.metrics, values, strict=False) if value is not None}


def _trimmed(values: list[Any]) -> list[Any]:
    while values and values[-1] is None:
        values.pop()
    return values


SPELLCHECK = Phase(
    name="spellcheck",
    short="sp",
    results=("correction_count", "corrected_text_storage_id", METRICS),
    metrics=(
        "total_corrections",
        "l2_dictionary_corrections",
        "spellchecker_corrections",
        "word_count",
        "correction_density",
    ),
    # It stands in for the essay's identity where that has none.
    unseen=("original_text_storage_id",),
    topics=("huleedu.essay.spellcheck.completed.v1", "huleedu.essay.spellcheck.results.v1"),
)
CJ_ASSESSMENT = Phase(
    # Its essay results come as whole rankings, not one essay a record: see `domain.ranking`.
    name="cj_assessment",
    short="cj",
    prefix="cj",
    results=(
        "rank",
        "score",
        "comparison_count",
        "grade",
        "confidence",
        "normalized_score",
        "confidence_label",
    ),
)
NLP = Phase(
    name="nlp",
    short="nl",
    results=(
        "lexical_diversity_score",
        "cohesion_score",
        "grammatical_error_rate",
        "metrics_storage_id",
        METRICS,
    ),
    metrics=(
        "word_count",
        "sentence_count",
        "avg_sentence_length",
        "mean_zipf_frequency",
        "hdd_score",
        "mean_dependency_distance",
        "second_order_coherence",
        "grammar_error_count",
        "language",
    ),
    topics=("huleedu.essay.nlp.completed.v1",),
)
AI_FEEDBACK = Phase(
    name="ai_feedback",
    short="ai",
    results=("storage_id", "summary"),
    topics=("huleedu.essay.aifeedback.completed.v1",),
)

PHASES: tuple[Phase, ...] = (SPELLCHECK, CJ_ASSESSMENT, NLP, AI_FEEDBACK)
PHASE_NAMES: tuple[str, ...] = tuple(phase.name for phase in PHASES)


BY_NAME: dict[str, Phase] = {phase.name: phase for phase in PHASES}


def known_phases(names: list[str]) -> list[str]:
    """Those of `names` that are phases of the view, in their order, each once."""
    return [name for name in dict.fromkeys(names) if name in PHASE_NAMES]
