"""Keeps one mapping running for every enabled event source mapping that there is."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from .errors import MappingsUnknownError
from .status import status_entry

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from .running import RunningMapping
    from .settings import MappingSettings
    from .sources import ListMappings

logger = logging.getLogger(__name__)

REFRESH_S = 2.0
"""How often the mappings are listed again."""

_REPORT_S = 0.25
_STOP_S = 10.0


class Poller:
    """Lists the mappings every `refresh_s`, and starts, stops and replaces what runs accordingly.

    `build` makes a mapping of its settings (`Connections.mapping`); `report` is called four times a second with an
    entry for each mapping (`status.status_entry`).
    """

    def __init__(
        self,
        list_mappings: ListMappings,
        build: Callable[[MappingSettings], RunningMapping],
        *,
        report: Callable[[list[dict[str, Any]]], None] = lambda _: None,
        refresh_s: float = REFRESH_S,
    ) -> None:
        self._list_mappings = list_mappings
        self._build = build
        self._report = report
        self._refresh_s = refresh_s
        self._unreadable = False
        self._running: dict[str, RunningMapping] = {}
        self._refused: dict[str, MappingSettings] = {}
        self._disabled: list[MappingSettings] = []

    def run(self, stopping: threading.Event) -> None:
        """Returns once `stopping` is set, and what was being delivered then is committed."""
        next_refresh = 0.0
        while not stopping.is_set():
            if time.monotonic() >= next_refresh:
                self._refresh()
                next_refresh = time.monotonic() + self._refresh_s
            self._report(self._status())
            stopping.wait(_REPORT_S)
        # One that is still joining its group has nothing to commit, and would be held up by the broker.
        reading = [mapping for mapping in self._running.values() if mapping.ready]
        for mapping in self._running.values():
            mapping.stop()
        for mapping in reading:
            mapping.join(_STOP_S)
        self._report(self._status())

    def _status(self) -> list[dict[str, Any]]:
        # First: where another mapping reads the same topic, its row is the last word.
        unread = [
            status_entry(settings, "refused", problem=settings.refusal) for settings in self._refused.values()
        ]
        unread += [
            status_entry(settings, "disabled", problem=f"group {settings.consumer_group_id} does not read")
            for settings in self._disabled
        ]
        return unread + [mapping.status() for mapping in self._running.values()]

    def _refresh(self) -> None:
        try:
            wanted = {settings.uuid: settings for settings in self._list_mappings()}
        except MappingsUnknownError as error:
            if not self._unreadable:
                logger.warning("the mappings cannot be read, those known go on: %s", error)
            self._unreadable = True
            return
        if self._unreadable:
            logger.info("the mappings can be read again")
        self._unreadable = False
        self._disabled = [settings for settings in wanted.values() if not settings.enabled]
        enabled = {uuid: settings for uuid, settings in wanted.items() if settings.enabled}
        self._stop_changed(enabled)
        self._start_new(enabled)

    def _stop_changed(self, enabled: Mapping[str, MappingSettings]) -> None:
        for uuid, mapping in list(self._running.items()):
            if enabled.get(uuid) != mapping.settings:
                logger.info("%s: stopped", mapping.settings.topic)
                mapping.stop()
                mapping.join(_STOP_S)
                del self._running[uuid]

    def _start_new(self, enabled: Mapping[str, MappingSettings]) -> None:
        for uuid, settings in enabled.items():
            if uuid in self._running or self._refused.get(uuid) == settings:
                continue
            self._refused.pop(uuid, None)
            if settings.refusal:
                self._refused[uuid] = settings
                logger.error("%s: is not polled, as %s", settings.topic or uuid, settings.refusal)
                continue
            logger.info(
                "%s: to %s as group %s, %s mode%s",
                settings.topic,
                settings.function_name,
                settings.consumer_group_id,
                settings.mode,
                f", filtered by {len(settings.filters)} patterns" if settings.filters else "",
            )
            self._running[uuid] = self._build(settings)
            self._running[uuid].start()
        for uuid in self._refused.keys() - enabled.keys():
            del self._refused[uuid]
