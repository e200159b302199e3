"""Settings of the functions, read from the environment on first use, so that importing a handler needs none of them."""

from __future__ import annotations

import json
import os

from result_aggregator.domain.phases import PHASE_NAMES
from result_aggregator.names import ENV_ALLOWED_CALLERS, ENV_DEFAULT_PIPELINE


class SettingsError(RuntimeError):
    """A setting is missing or wrong; the message names it."""


def text(name: str) -> str:
    """A required setting. Raises SettingsError."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"environment variable {name} is not set")
    return value


def names(name: str) -> tuple[str, ...]:
    """A required setting of one name or more, separated by commas. Raises SettingsError."""
    found = tuple(part.strip() for part in text(name).split(","))
    if not all(found):
        raise SettingsError(f"environment variable {name} holds an empty name")
    return found


def flag(name: str) -> bool:
    """A required setting that is `true` or `false`. Raises SettingsError."""
    value = text(name).lower()
    if value not in ("true", "false"):
        raise SettingsError(f"environment variable {name} is {value!r}, not true or false")
    return value == "true"


def callers(name: str = ENV_ALLOWED_CALLERS) -> dict[str, str]:
    """IAM role ARN -> service name, "" for callers of whom no identity is told. Raises SettingsError."""
    try:
        value = json.loads(text(name))
    except ValueError as error:
        raise SettingsError(f"environment variable {name} is not JSON") from error
    if not isinstance(value, dict) or not all(isinstance(service, str) for service in value.values()):
        raise SettingsError(f"environment variable {name} is not an object of role ARN to service name")
    return value


def pipeline(name: str = ENV_DEFAULT_PIPELINE) -> tuple[str, ...]:
    """Comma-separated phases of the view, at least one. Raises SettingsError."""
    phases = tuple(phase.strip() for phase in text(name).split(","))
    if unknown := [phase for phase in phases if phase not in PHASE_NAMES]:
        raise SettingsError(f"environment variable {name} names unknown phases: {', '.join(unknown)}")
    return phases
