"""The settings of a stage, read from the context and the environment of the CDK command line, and written as context again.

A value comes from, in this order: `cdk -c <setting>=<value>`, the environment (account and region only), the
stage's preset (`infra.stages`), the field's default (`infra.settings`). Nothing here imports the CDK, so a wrong setting
is reported at once.
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from infra.setting_types import Batching, ExistingVpc
from infra.settings import DEFAULT_REGION, Settings, SettingsError
from infra.stages import preset

DEFAULT_STAGE = "dev"
# The CDK command line says CDK_DEFAULT_REGION=us-east-1 when nobody chose a region. Students' results must not
# move to another continent by that: whoever wants it says so with AWS_REGION or -c region.
_CLI_FALLBACK_REGION = "us-east-1"

GENERATIONS = ("table_generation", "second_generation", "write_second")
"""The settings that a rebuild of the view changes: docs/upgrades.md."""
PROVISIONED_ONLY = (
    "minimum_pollers",
    "maximum_pollers",
    "poller_group",
    "retries",
    "max_record_age_seconds",
    "bisect",
)
"""What an on-demand mapping takes no part of, so that saying it there is a mistake."""
OF_ONE_MACHINE = ("byte_code_python",)
"""What says something of whoever deploys, not of the stage."""
OF_NEW_BROKERS = ("kafka_version", "broker_instance_type", "broker_storage_gib", "topic_partitions")
"""What only a cluster of brokers takes that the stack makes."""


def load_settings(context: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings of the stage that the CDK context names (`stage`, default dev).

    `context` is what `cdk -c` and `cdk.json` gave; structured values may be JSON text. Raises SettingsError.
    """
    given = {key: value for key, value in context.items() if _is_setting_key(key)}
    unknown = sorted(given.keys() - Settings.model_fields.keys())
    if unknown:
        raise SettingsError(
            f"setting {unknown[0]!r} is unknown{_meant(unknown[0])};"
            f" allowed: {', '.join(sorted(Settings.model_fields))}"
        )
    values = {key: _from_text(key, value) for key, value in given.items()}
    stage = values.setdefault("stage", DEFAULT_STAGE)
    if stage not in ("local", "dev", "staging", "prod"):
        raise SettingsError(f"setting 'stage': {stage!r} is not one of local, dev, staging, prod")
    values = _from_environment(environ) | values
    of_stage = preset(stage, values.get("region", DEFAULT_REGION))
    if values.get("cluster_arn") is not None:
        of_stage.pop("new_cluster", None)
    if values.get("mapping_mode", of_stage.get("mapping_mode")) == "on_demand":
        _refuse_ignored(values, PROVISIONED_ONLY, "mapping_mode on_demand", "mapping_mode provisioned")
    said = values
    values = of_stage | said
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from error
    if settings.vpc:
        _refuse_ignored(said, ("new_vpc_cidr", "availability_zones"), "vpc", "no vpc")
    if settings.zone_names:
        _refuse_ignored(said, ("availability_zones",), "zone_names", "no zone_names")
    if not settings.is_local and (settings.cluster_arn or settings.new_cluster != "provisioned"):
        other = "cluster_arn" if settings.cluster_arn else f"new_cluster {settings.new_cluster}"
        _refuse_ignored(said, OF_NEW_BROKERS, other, "new_cluster provisioned")
    return settings


def _refuse_ignored(given: Mapping[str, Any], keys: Sequence[str], chosen: str, needed: str) -> None:
    """Only what somebody said: presets and defaults are of the other choice. Raises SettingsError."""
    ignored = [
        f"setting {key!r}: {given[key]!r} would be ignored with {chosen}; allowed: leave it out, or {needed}"
        for key in keys
        if key in given
    ]
    if ignored:
        raise SettingsError("\n".join(ignored))


def as_context(settings: Settings) -> dict[str, str]:
    """What `cdk -c` has to say beside the stage, for the same settings again: those that its preset does not give.

    Always the region, as it would otherwise be that of whoever deploys. Never the account, which their credentials
    decide, nor where their machine has its Python, nor the generations of the table, which are told apart
    (`infra.stacks`).
    """
    values = settings.model_dump(mode="json", exclude={"stage", "account", *GENERATIONS, *OF_ONE_MACHINE})
    given = preset(settings.stage, settings.region)
    # A stage without either is none, so the settings' own cluster stands in where the preset has none.
    cluster = {"cluster_arn": settings.cluster_arn, "new_cluster": settings.new_cluster}
    unasked = Settings.model_validate(
        {**given, **cluster, "stage": settings.stage, "region": settings.region}
    ).model_dump(mode="json")
    unasked |= {name: given.get(name) for name, value in cluster.items() if value is not None}
    return {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for name, value in values.items()
        if name == "region" or value != unasked[name]
    }


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Account and region of whoever runs the CDK command line, where they are known."""
    region = (
        environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or environ.get("CDK_DEFAULT_REGION")
    )
    found = {"account": environ.get("CDK_DEFAULT_ACCOUNT"), "region": region}
    if region == _CLI_FALLBACK_REGION and region not in (
        environ.get("AWS_REGION"),
        environ.get("AWS_DEFAULT_REGION"),
    ):
        found["region"] = None
    return {key: value for key, value in found.items() if value}


def passed_over(context: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """What to tell whoever gets another region than the command line named; empty where it is the same."""
    named = environ.get("CDK_DEFAULT_REGION")
    if not named or "region" in context or "region" in _from_environment(environ):
        return ""
    return (
        f"region: {DEFAULT_REGION}, not {named}, which the command line also names where nobody chose one;"
        f" for that say AWS_REGION={named} or -c region={named}"
    )


_PARTS = {
    part: name
    for name, of in (("topic_batching", Batching), ("vpc", ExistingVpc))
    for part in of.model_fields
}


def _meant(key: str) -> str:
    """Which setting somebody may have meant, said behind the name that is unknown."""
    first, *inside = re.split(r"\W", key.replace("-", "_"))
    if first in _PARTS:
        return f"; it is a part of {_PARTS[first]!r}, which is given as JSON"
    near = difflib.get_close_matches(first, Settings.model_fields, 1)
    if not near:
        return ""
    return f"; {near[0]!r} is one{', given as JSON with what it has inside' if inside else ''}"


# All that the CDK's command line writes into cdk.json without a colon, a slash or an at sign in its name.
_KEYS_OF_THE_CDK = {"acknowledged-issue-numbers", "cli-telemetry"}


def _is_setting_key(key: str) -> bool:
    """The context also holds the CDK's own keys; what is none of them is a setting, or was meant to be one."""
    return key not in _KEYS_OF_THE_CDK and not set(key) & set(":/@")


def _from_text(key: str, value: Any) -> Any:
    """`cdk -c` gives text only, so objects come as JSON."""
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise SettingsError(
            f"setting {key!r}: {value!r} is not JSON: {error}; the shell may have taken its quotes, see docs/deploy.md"
        ) from error


def _explain(problem: Mapping[str, Any]) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    # In the words of who types them.
    if problem["type"] in ("bool_parsing", "bool_type"):
        message = "allowed: true or false"
    message = message.partition(" or instance of")[0]
    message = message.replace("a valid tuple", "a list, as JSON").replace(
        "a valid dictionary", "an object, as JSON"
    )
    if not problem["loc"]:
        return f"setting {message}"
    where = ".".join(str(part) for part in problem["loc"])
    field = Settings.model_fields.get(str(problem["loc"][0]))
    # Of a part of a structure the whole is no example.
    if field is not None and field.examples and len(problem["loc"]) == 1:
        message += f"; such as {' or '.join(map(str, field.examples))}"
    return f"setting {where!r}: {problem['input']!r}: {message}"
