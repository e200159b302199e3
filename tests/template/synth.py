"""Synthesised templates of a stage, with their intrinsic functions put into plain words.

Each distinct choice of settings is synthesised once per test process. The dependency layer is a stand-in here: `test_layers` builds it.
"""

from __future__ import annotations

import atexit
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.context import load_settings
from infra.layers import FUNCTIONS, Artefacts, Target, build_code, build_function, build_shared
from infra.stacks import add_stacks
from tests.template.given import ACCOUNT, NEW_CLUSTER, REGION, context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.settings import Settings

_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}
_ARNS = {
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "AWS::IAM::OIDCProvider": "arn:aws:iam::{account}:oidc-provider/{name}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::KMS::Key": "arn:aws:kms:{region}:{account}:key/{name}",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
    "AWS::MSK::ServerlessCluster": "arn:aws:kafka:{region}:{account}:cluster/{name}/00000000-0000-1",
    "AWS::MSK::Cluster": "arn:aws:kafka:{region}:{account}:cluster/{name}/00000000-0000-1",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
}


FOLDERS = sorted(path.parent.name for path in FUNCTIONS.glob("*/handler.py"))


@dataclass(frozen=True)
class Assembly:
    """The templates of one stage by the last word of their stack's name, for example `data`.

    `metadata` is what the CDK wrote down of each construct, by its path; `assumed` are the roles that its command line
    assumes to publish the assets and to deploy; `termination_protection` goes by stack.
    """

    settings: Settings
    templates: dict[str, dict[str, Any]]
    metadata: dict[str, list[dict[str, Any]]]
    assumed: frozenset[str]
    termination_protection: dict[str, bool]

    def resources(self, part: str, kind: str) -> dict[str, dict[str, Any]]:
        """Logical id -> resource, of one type in one stack; properties still with intrinsic functions."""
        found = self.templates[part]["Resources"].items()
        return {name: resource for name, resource in found if resource["Type"] == kind}

    def properties(self, part: str, kind: str) -> list[dict[str, Any]]:
        """The properties of every resource of a type, resolved."""
        return [
            self.resolve(part, resource["Properties"]) for resource in self.resources(part, kind).values()
        ]

    def only(self, part: str, kind: str) -> dict[str, Any]:
        (found,) = self.properties(part, kind)
        return found

    def outputs(self, part: str) -> dict[str, Any]:
        named = self.templates[part].get("Outputs", {})
        return {
            name: self.resolve(part, output["Value"])
            for name, output in named.items()
            if "Export" not in output
        }

    def resolve(self, part: str, value: Any) -> Any:
        """`value` with intrinsic functions computed, as CloudFormation would with made-up physical names."""
        if isinstance(value, list):
            return [self.resolve(part, item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref":
                return _PSEUDO.get(argument) or self._name(part, argument)
            if function.startswith("Fn::"):
                return self._function(part, function, argument)
        return {key: self.resolve(part, item) for key, item in value.items()}

    def _function(self, part: str, function: str, argument: Any) -> Any:
        if function == "Fn::GetAtt":
            return self._attribute(part, *argument)
        resolved = self.resolve(part, argument)
        match function:
            case "Fn::Join":
                return resolved[0].join(resolved[1])
            case "Fn::Split":
                return resolved[1].split(resolved[0])
            case "Fn::Select":
                return resolved[1][int(resolved[0])]
            case "Fn::GetAZs":
                return [f"{REGION}{letter}" for letter in "abc"]
            case "Fn::ImportValue":
                return self._imported(resolved)
            case "Fn::Sub" if isinstance(resolved, str):
                return _filled_in(resolved)
        raise NotImplementedError(function)

    def _imported(self, export: str) -> Any:
        for part, template in self.templates.items():
            for output in template.get("Outputs", {}).values():
                if output.get("Export", {}).get("Name") == export:
                    return self.resolve(part, output["Value"])
        raise AssertionError(f"no stack exports {export}")

    def _name(self, part: str, logical_id: str) -> str:
        resource = self.templates[part].get("Resources", {}).get(logical_id, {})
        properties = resource.get("Properties", {})
        kind = resource.get("Type", "")
        if kind == "AWS::Lambda::Alias":
            function = self._attribute(part, properties["FunctionName"]["Ref"], "Arn")
            return f"{function}:{properties['Name']}"
        if kind == "AWS::IAM::OIDCProvider":
            return str(properties["Url"]).removeprefix("https://")
        name = properties.get("LogGroupName") or properties.get("FunctionName") or logical_id
        if kind == "AWS::Lambda::EventSourceMapping":
            return logical_id
        if kind == "AWS::EC2::VPCEndpoint":
            return f"vpce-{logical_id.lower()}"
        return str(name).lower() if kind == "AWS::S3::Bucket" else str(name)

    def _attribute(self, part: str, logical_id: str, attribute: str) -> str:
        kind = self.templates[part]["Resources"][logical_id]["Type"]
        if attribute == "Arn" and kind in _ARNS:
            return _ARNS[kind].format(region=REGION, account=ACCOUNT, name=self._name(part, logical_id))
        return f"{logical_id}.{attribute}"


@cache
def stand_in_layer() -> Path:
    """A folder in the shape of the dependency layer, with nothing in it."""
    folder = Path(tempfile.mkdtemp(prefix="ras-layer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    layer = folder / ("0" * 32)
    (layer / "python").mkdir(parents=True)
    (layer / "python" / "dependencies.py").write_text("")
    return layer


def stand_ins(settings: Settings) -> Artefacts:
    """Our own sources as they are deployed, but for the byte code, and stand-ins for what is installed."""
    layer, target = stand_in_layer(), Target("3.13", "arm64")
    if settings.layers_in_code:
        return Artefacts(layer, None, {name: build_code(name, layer, target) for name in FOLDERS})
    functions = {name: build_function(name, target) for name in FOLDERS}
    return Artefacts(layer, build_shared(target), functions, None if settings.is_local else layer)


@cache
def assembly(stage: str, **overrides: str | int | bool) -> Assembly:
    """The templates of a stage, with settings overridden as `cdk -c` would; SettingsError like `cdk synth`."""
    app, settings = _app(stage, overrides)
    app.synth()
    return _read(settings, Path(app.outdir))


@cache
def examined(stage: str, **overrides: str | int | bool) -> tuple[Assembly, list[str]]:
    """As `assembly`, and what `findings` finds in it: the rules take longer than all the rest of a synthesis."""
    return examined_anew(stage, overrides)


def examined_anew(stage: str, overrides: Mapping[str, Any]) -> tuple[Assembly, list[str]]:
    """As `examined`, synthesised again."""
    app, settings = _app(stage, overrides)
    found = findings(app)
    return _read(settings, Path(app.outdir)), found


def _app(stage: str, overrides: Mapping[str, Any]) -> tuple[App, Settings]:
    """An app with every stack of a stage, not synthesised yet; its output folder goes with this process."""
    cluster = {} if "cluster_arn" in overrides else NEW_CLUSTER.get(stage, {})
    settings = load_settings({**context(), "stage": stage, **cluster, **overrides}, {})
    folder = tempfile.mkdtemp(prefix="ras-synth-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # Validation is as slow as all else; test_command_line synthesises with it.
    app = App(context=context(), outdir=folder, builtin_cloud_formation_validation=False)
    add_stacks(app, settings, stand_ins(settings))
    return app, settings


def _read(settings: Settings, folder: Path) -> Assembly:
    prefix = settings.name("")
    templates = _files(folder, ".template.json").items()
    metadata = _files(folder, ".metadata.json").values()
    artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    return Assembly(
        settings,
        {name.removeprefix(prefix): template for name, template in templates},
        {path: entries for part in metadata for path, entries in part.items()},
        frozenset(_filled_in(role) for path in folder.glob("*.json") for role in _assumed(path)),
        {
            name.removeprefix(prefix): artifact["properties"].get("terminationProtection", False)
            for name, artifact in artifacts.items()
            if artifact["type"] == "aws:cloudformation:stack"
        },
    )


def _assumed(path: Path) -> list[str]:
    """In the manifest of the assembly, and in those of its stacks' assets."""
    return re.findall(r'"assumeRoleArn": "([^"]+)"', path.read_text())


def _filled_in(text: str) -> str:
    """`text` with the pseudo parameters that it names, such as `${AWS::AccountId}`."""
    return re.sub(r"\$\{([^}]+)\}", lambda match: _PSEUDO[match[1]], text)


def _files(folder: Path, ending: str) -> dict[str, dict[str, Any]]:
    """The JSON files of that ending, by the rest of their name."""
    found = sorted(folder.glob(f"*{ending}"))
    return {path.name.removesuffix(ending): json.loads(path.read_text()) for path in found}


def findings(app: App) -> list[str]:
    """Synthesise `app` under cdk-nag's AwsSolutions rules: what it and the CDK find and nobody acknowledged.

    Each as `<rule> <construct>`.
    """
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as error:
        # A finding ends the synthesis after everything is written, and the report says more than the error does.
        if "ValidationFailed" not in str(error):
            raise
    report = json.loads((Path(app.outdir) / "validation-report.json").read_text())
    return sorted(
        f"{violation['ruleName']} {construct['constructPath']}"
        for plugin in report["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    )
