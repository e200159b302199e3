"""What can go wrong.

MappingError
├── InvalidMappingError    a description of a mapping lacks a field or has one of the wrong type
├── PatternError           a filter pattern that Lambda would refuse
├── MappingsUnknownError   which mappings there are cannot be read at the moment
├── MalformedResponseError the function's partial batch response cannot be read
├── DestinationError       an on-failure destination does not take what was discarded
├── TopicRemadeError       the topic was deleted, and another has its name
└── StoppedError           the mapping is stopping, and the batch has no outcome yet
"""

from __future__ import annotations


class MappingError(Exception):
    """Whatever this package raises on purpose."""


class InvalidMappingError(MappingError, ValueError):
    """A description of a mapping lacks a field, or has one of the wrong type."""


class PatternError(MappingError, ValueError):
    """A filter pattern that Lambda would refuse; the message says why."""


class MappingsUnknownError(MappingError):
    """Which mappings there are cannot be read at the moment; those that run are left running."""


class MalformedResponseError(MappingError, ValueError):
    """The function's answer is no partial batch response, or names a record that it was not given."""


class DestinationError(MappingError):
    """The destination did not take what was discarded; it may later."""


class TopicRemadeError(MappingError):
    """The topic was deleted, and another has its name, which is the message."""


class StoppedError(MappingError):
    """The mapping was told to stop while a batch was being tried."""
