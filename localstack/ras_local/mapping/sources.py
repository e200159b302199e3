"""Which mappings there are: from Lambda's API, or from a file in the shape of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from .errors import InvalidMappingError, MappingsUnknownError
from .settings import MappingSettings

if TYPE_CHECKING:
    from pathlib import Path

ListMappings = Callable[[], Sequence[MappingSettings]]
"""The mappings that there are now. Raises MappingsUnknownError where that cannot be told."""


class LambdaMappings:
    """The mappings that Lambda lists, those for Amazon MSK; `functions` is boto3's client of Lambda."""

    def __init__(self, functions: Any) -> None:
        self._functions = functions

    def __call__(self) -> list[MappingSettings]:
        """Raises MappingsUnknownError."""
        try:
            pages = self._functions.get_paginator("list_event_source_mappings").paginate()
            return [
                MappingSettings.from_api(described)
                for page in pages
                for described in page["EventSourceMappings"]
                if ":kafka:" in described.get("EventSourceArn", "")
            ]
        except (BotoCoreError, ClientError, InvalidMappingError) as error:
            raise MappingsUnknownError(str(error)) from error


class MappingsFile:
    """A JSON file: a list of GetEventSourceMapping's answers, or one answer of ListEventSourceMappings.

    Times may be seconds or ISO 8601, so that what `aws lambda list-event-source-mappings` prints can be used as it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int, int] | None = None
        self._mappings: list[MappingSettings] = []

    def __call__(self) -> list[MappingSettings]:
        """What the file holds; it is parsed again once it has changed. Raises MappingsUnknownError."""
        try:
            found = self._path.stat()
            version = (found.st_mtime_ns, found.st_size, found.st_ino)
            if version != self._read_at:
                self._mappings = _parse(self._path.read_text(encoding="utf-8"))
                self._read_at = version
        except (OSError, ValueError) as error:
            raise MappingsUnknownError(f"{self._path}: {error}") from error
        return self._mappings


def _parse(text: str) -> list[MappingSettings]:
    document = json.loads(text)
    listed = document.get("EventSourceMappings") if isinstance(document, dict) else document
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise InvalidMappingError("neither a list of mappings nor an object with EventSourceMappings")
    found = [MappingSettings.from_api(one) for one in listed]
    if len({settings.uuid for settings in found}) < len(found):
        raise InvalidMappingError("two mappings have the same UUID")
    return found
