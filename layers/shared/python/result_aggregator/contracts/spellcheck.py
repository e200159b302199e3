"""The spellcheck phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator.contracts.essays import PhaseResult
from result_aggregator.contracts.fields import Contract, Count, StorageReference, Text, first
from result_aggregator.domain.phases import SPELLCHECK

if TYPE_CHECKING:
    from result_aggregator.contracts.envelope import Envelope
    from result_aggregator.domain.events import EssayPhaseEnded


class _References(Contract):
    corrected_text: StorageReference | None = None


class _StorageMetadata(Contract):
    references: _References | None = None


class _CorrectionMetrics(Contract):
    total_corrections: Count | None = None
    l2_dictionary_corrections: Count | None = None
    spellchecker_corrections: Count | None = None
    word_count: Count | None = None
    correction_density: float | None = None


class _SpellcheckResult(PhaseResult):
    """SpellcheckResultDataV1 and SpellcheckResultV1."""

    correction_count: Count | None = None
    corrections_made: Count | None = None
    corrected_text_storage_id: Text | None = None
    storage_metadata: _StorageMetadata | None = None
    original_text_storage_id: Text | None = None
    correction_metrics: _CorrectionMetrics | None = None

    def _corrected_text(self) -> str | None:
        if self.corrected_text_storage_id is not None:
            return self.corrected_text_storage_id
        references = self.storage_metadata and self.storage_metadata.references
        return references.corrected_text.found() if references and references.corrected_text else None

    def results(self) -> dict[str, Any]:
        return {
            "correction_count": first(self.correction_count, self.corrections_made),
            "corrected_text_storage_id": self._corrected_text(),
            "metrics": self.correction_metrics and self.correction_metrics.model_dump(exclude_none=True),
            # Not an answer field of the phase: it stands in for the essay's identity where that has none.
            "original_text_storage_id": self.original_text_storage_id,
        }


def completed(envelope: Envelope) -> EssayPhaseEnded:
    """Read `huleedu.essay.spellcheck.completed.v1` and `huleedu.essay.spellcheck.results.v1`."""
    return _SpellcheckResult.model_validate(envelope.data).event(SPELLCHECK.name, envelope)
