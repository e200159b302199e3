"""A fifth phase is one entry in the registry and one module: topics, registers and answers follow by themselves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import result_aggregator

ENTRY = """
PLAGIARISM = Phase(
    name="plagiarism",
    results=("similarity",),
    topics=("huleedu.essay.plagiarism.completed.v1",),
)

PHASES: tuple[Phase, ...] = (SPELLCHECK, CJ_ASSESSMENT, NLP, AI_FEEDBACK, PLAGIARISM)
"""

MODULE = """
from result_aggregator.contracts.essays import PhaseResult
from result_aggregator.domain.phases import PLAGIARISM


class _PlagiarismResult(PhaseResult):
    similarity: float | None = None

    def results(self):
        return {"similarity": self.similarity}


def completed(envelope):
    return _PlagiarismResult.model_validate(envelope.data).event(PLAGIARISM.name, envelope)
"""

USE = """
import json
from result_aggregator.topics import TOPICS
from tests import fold, samples

topic = "huleedu.essay.plagiarism.completed.v1"
lines = [
    ("huleedu.batch.essays.registered.v1", {"batch_id": "b", "user_id": "u", "expected_essay_count": 1}),
    (topic, {"batch_id": "b", "essay_id": "e", "status": "completed", "similarity": 0.25}),
    ("huleedu.els.batch_phase.outcome.v1", {"batch_id": "b", "phase": "PLAGIARISM", "outcome": "COMPLETED",
     "metadata": {"requested_pipeline": "plagiarism", "completed_essay_count": 1}}),
]
events = fold.read_all(samples.Line(topic, "k", samples.envelope(data)) for topic, data in lines)
answer = fold.answer(fold.fold(events), "b")
print(json.dumps({"function": TOPICS[topic].function, "status": answer["overall_status"], **answer["essays"][0]}))
"""


@pytest.mark.slow
def test_a_new_phase_is_one_entry_and_one_module(tmp_path: Path) -> None:
    """With them alone its topic is routed, its results are stored and shown, and it completes a pipeline."""
    package = tmp_path / "result_aggregator"
    shutil.copytree(Path(result_aggregator.__file__).parent, package)
    registry = package / "domain" / "phases.py"
    text = registry.read_text()
    start = text.index("PHASES: tuple")
    end = text.index("\n", start)
    registry.write_text(text[:start] + ENTRY.strip() + text[end:])
    (package / "contracts" / "plagiarism.py").write_text(MODULE)
    run = subprocess.run(
        [sys.executable, "-c", USE],
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    shown = json.loads(run.stdout)

    assert shown["function"] == "ingest_essays"
    assert shown["status"] == "COMPLETED"
    assert (shown["plagiarism_status"], shown["plagiarism_similarity"]) == ("COMPLETED", 0.25)
