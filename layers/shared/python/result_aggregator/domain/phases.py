"""The registry of processing phases.

A phase is one entry here and one module `result_aggregator.contracts.<name>` that reads its events. Topics, event
source mappings, stored registers and the fields of an API answer follow from the entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Phase:
    """One processing phase.

    `name` names its registers, its module and its `<name>_status` and `<name>_error` in answers.
    `results` are the values its essay register holds beside status and error; an answer shows each as
    `<prefix>_<value>`. `topics` carry one essay's result of this phase per record.
    """

    name: str
    results: tuple[str, ...]
    topics: tuple[str, ...] = ()
    prefix: str = ""
    answer_fields: tuple[tuple[str, str], ...] = field(init=False)
    """(field of the answer, key in the register), in the order of the answer."""

    def __post_init__(self) -> None:
        prefix = self.prefix or self.name
        fields = (
            (f"{self.name}_status", "status"),
            *((f"{prefix}_{result}", result) for result in self.results),
            (f"{self.name}_error", "error"),
        )
        object.__setattr__(self, "answer_fields", fields)


SPELLCHECK = Phase(
    name="spellcheck",
    results=("correction_count", "corrected_text_storage_id", "metrics"),
    topics=("huleedu.essay.spellcheck.completed.v1", "huleedu.essay.spellcheck.results.v1"),
)
CJ_ASSESSMENT = Phase(
    # Its essay results come as whole rankings, not one essay a record: see `domain.ranking`.
    name="cj_assessment",
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
    results=(
        "lexical_diversity_score",
        "cohesion_score",
        "grammatical_error_rate",
        "metrics_storage_id",
        "metrics",
    ),
    topics=("huleedu.essay.nlp.completed.v1",),
)
AI_FEEDBACK = Phase(
    name="ai_feedback",
    results=("storage_id", "summary"),
    topics=("huleedu.essay.aifeedback.completed.v1",),
)

PHASES: tuple[Phase, ...] = (SPELLCHECK, CJ_ASSESSMENT, NLP, AI_FEEDBACK)
PHASE_NAMES: tuple[str, ...] = tuple(phase.name for phase in PHASES)


def known_phases(names: list[str]) -> list[str]:
    """Those of `names` that are phases of the view, in their order, each once."""
    return [name for name in dict.fromkeys(names) if name in PHASE_NAMES]
