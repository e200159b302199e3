"""The CDK app: `cdk synth -c stage=<local|dev|staging|prod>`; other settings by `-c <setting>=<value>`."""

import os
import sys

from aws_cdk import App

from infra.byte_code import ByteCodeError, find_compiler, missing
from infra.context import load_settings, passed_over
from infra.layers import LayerError, Target, build
from infra.settings import Settings, SettingsError
from infra.stacks import add_stacks


def main() -> int:
    # The context that the CDK command line gives is read by an app, and how the app is made depends on it.
    context = App(auto_synth=False).node.get_all_context()
    try:
        settings = load_settings(context, os.environ)
        if told := passed_over(context, os.environ):
            print(told, file=sys.stderr)
        # Validation takes longer than all the rest together, and the local stage has nothing that others lack.
        app = App(builtin_cloud_formation_validation=not settings.is_local)
        target = Target.host() if settings.functions_on_host else _lambda_target(settings)
        artefacts = build(target, layers_in_code=settings.layers_in_code, client=not settings.is_local)
        add_stacks(app, settings, artefacts)
    except (SettingsError, ByteCodeError, LayerError) as error:
        print(error, file=sys.stderr)
        return 1
    app.synth()
    return 0


def _lambda_target(settings: Settings) -> Target:
    """Where functions run in AWS. Raises ByteCodeError where the stage needs byte code and nothing compiles it."""
    python = settings.runtime.removeprefix("python")
    compiler = find_compiler(python, settings.byte_code_python)
    if compiler is None:
        if settings.byte_code == "required":
            raise ByteCodeError(
                f"setting 'byte_code': 'required', but {missing(python)}; allowed: install it, or byte_code=optional"
            )
        print(f"WARNING: {missing(python)}", file=sys.stderr)
    return Target(python, settings.architecture, compiler=compiler)


if __name__ == "__main__":
    sys.exit(main())
