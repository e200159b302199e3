"""The CDK app: `cdk synth -c stage=<local|dev|staging|prod>`; other settings by `-c <setting>=<value>`."""

import os
import sys

from aws_cdk import App

from infra.context import load_settings, passed_over
from infra.layers import FUNCTIONS, SHARED, LayerError, Target, build_client, build_dependencies, check_size
from infra.settings import SettingsError
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
        target = Target(settings.runtime.removeprefix("python"), settings.architecture)
        dependencies = build_dependencies(Target.host() if settings.functions_on_host else target)
        check_size([dependencies, SHARED, FUNCTIONS])
        client = None if settings.is_local else build_client(target)
        add_stacks(app, settings, dependencies, client)
    except (SettingsError, LayerError) as error:
        print(error, file=sys.stderr)
        return 1
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
