"""The Kafka topics of the view and the function that ingests each: the one routing table.

Infrastructure makes an event source mapping per entry (an MSK mapping takes exactly one topic), the contracts
read by it, and the local stack creates the topics from it. Its import costs next to nothing, so that all of them can.
"""

from __future__ import annotations

from dataclasses import dataclass

from result_aggregator.domain.phases import PHASES


@dataclass(frozen=True, slots=True)
class Topic:
    """One consumed topic.

    `name` is the Kafka topic; `contract` is the `module.function` under `result_aggregator.contracts` that reads it;
    `function` is the folder under `functions/` of the Lambda function that ingests it.
    """

    name: str
    contract: str
    function: str


# Three functions, because the work has three shapes: few small events on a batch, many small events on essays,
# and few large rankings. None of them can hold up another.
BATCHES = "ingest_batches"
ESSAYS = "ingest_essays"
RANKINGS = "ingest_rankings"

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic("huleedu.els.batch_phase.outcome.v1", "batches.phase_outcome", BATCHES),
        Topic("huleedu.els.batch.phase.outcome.v1", "batches.phase_outcome", BATCHES),
        Topic("huleedu.batch.essays.registered.v1", "batches.essays_registered", BATCHES),
        Topic("huleedu.batch.pipeline.completed.v1", "batches.pipeline_completed", BATCHES),
        Topic("huleedu.cj_assessment.failed.v1", "cj_assessment.failed", BATCHES),
        Topic("huleedu.els.essay.slot.assigned.v1", "essays.slot_assigned", ESSAYS),
        *(Topic(name, f"{phase.name}.completed", ESSAYS) for phase in PHASES for name in phase.topics),
        Topic("huleedu.batch.nlp.analysis.completed.v1", "nlp.summarized", ESSAYS),
        Topic("huleedu.cj_assessment.completed.v1", "cj_assessment.completed", RANKINGS),
        Topic("huleedu.assessment.result.published.v1", "cj_assessment.published", RANKINGS),
        # Its name until 2025.
        Topic("huleedu.assessment.results.v1", "cj_assessment.published", RANKINGS),
    )
}
