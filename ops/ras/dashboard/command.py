"""`ras dashboard`."""

from __future__ import annotations

from typing import Any

import click

from ras import options as shared


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Where to listen.  [default: 8600, or any free one]"
)
@click.option("--open", "open_browser", is_flag=True, help="Open it in the browser.")
@click.option("--api-url", help="With --stage: another way to the API than the stack's output ApiUrl.")
@shared.of_deployment
@shared.failures
def dashboard(*, port: int | None, open_browser: bool, api_url: str | None, **options: Any) -> None:
    """Show batches, ingest health and dead letters in the browser, until Ctrl-C.

    Works on the stack on this machine, whose own dashboard `make up` names already; with --stage, on one in AWS with
    your own credentials. They must be those of a role that the API knows (admin-dashboard-service), and need
    cloudwatch:GetMetricData, cloudformation:DescribeStacks, s3:ListBucket and s3:GetObject on the dead-letter
    bucket; for a replay also s3:PutObject and s3:DeleteObject there, and lambda:InvokeFunction on the ingest
    functions. The API is private: its address must be reachable from here.

    It listens on 127.0.0.1 only, keeps nothing, and holds no secrets of its own.

    \b
    Examples:
      ras dashboard --open
      ras dashboard --stage prod --profile on-call
    """
    import webbrowser

    from ras.dashboard import serve
    from ras.dashboard.data_source import Reopened, open_source
    from ras.errors import SettingError
    from ras.state import LOCAL, StateDir

    stage = options["stage"]
    if api_url and stage in (None, LOCAL):
        raise SettingError("--api-url goes with --stage")
    # At once, so that what is wrong is told here and not by every page.
    source = open_source(stage, profile=options["profile"], region=options["region"], api_url=api_url)
    opener = Reopened(StateDir.default()) if source.is_local else lambda: source
    listening = serve.listen(port or 0)
    address = serve.address(listening)

    def started() -> None:
        click.echo(f"The dashboard of {source.label}: {address}  (Ctrl-C ends it)")
        if open_browser:
            webbrowser.open(address)

    serve.serve(opener, listening, started)
