"""What is wrong with a running mapping at the moment."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

logger = logging.getLogger(__name__)


class Problems:
    """Of reading and of destinations; each kind of the client's errors is logged once, until reading continues."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._reading = ""
        self._logged: set[int] = set()
        self._lasting: dict[str, str] = {}  # by kind
        self._undelivered: dict[int, str] = {}  # by thread, what a destination does not take

    @property
    def text(self) -> str:
        """Empty where nothing is wrong. A destination comes first: nothing but a person may get over that.

        What was lost, and that the topic is another, stays: no later success undoes it.
        """
        lasting = "; ".join(self._lasting.values())
        return next(iter(self._undelivered.values()), "") or self._reading or lasting

    def of_client(self, error: KafkaError) -> None:
        """The Kafka client reports an error; it tries again by itself."""
        self._reading = error.str()
        # By kind: the texts name the milliseconds that an attempt took, so that no two are the same.
        if error.code() not in self._logged:
            self._logged.add(error.code())
            logger.warning("%s: %s", self._topic, error.str())

    def of_consumer(self, error: Exception) -> None:
        """The consumer has ended by an error, and another one starts."""
        self._reading = str(error)

    def reading_continues(self) -> None:
        self._reading = ""
        self._logged.clear()

    def of_lost(self, lane: str, first: int, last: int, total: int) -> None:
        """The broker dropped these offsets before they were read, `total` of the mapping by now."""
        logger.error("%s: offsets %d to %d are gone: the broker dropped them unread", lane, first, last)
        self._lasting["lost"] = (
            f"the broker dropped {total} records before they were read, the last of {lane} at {first} to {last}"
        )

    def of_remade_topic(self, topic: str, dropped: int | None = None) -> None:
        """The topic is another one than before; `dropped` records had been read and had no outcome yet.

        Without a number, it was seen by the group's commits: after a consumer has noticed, they say nothing new.
        """
        if dropped is None and "remade" in self._lasting:
            return
        text = f"{topic} was deleted and made again, and is read from its beginning"
        if dropped:
            text += f"; {dropped} records had been read and had no outcome: those of the earlier topic are dropped"
        logger.error("%s", text)
        self._lasting["remade"] = text

    def of_destination(self, text: str) -> None:
        """A destination does not take the batch of this thread."""
        self._undelivered[threading.get_ident()] = text
        logger.warning("%s: %s", self._topic, text)

    def destination_is_done(self) -> None:
        """The batch of this thread has been taken, or is given up as the mapping stops."""
        self._undelivered.pop(threading.get_ident(), None)
