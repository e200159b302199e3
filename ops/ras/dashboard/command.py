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
@click.option(
    "--no-token",
    is_flag=True,
    help="Answer every account of this machine, without the secret in the address.",
)
@click.option("--api-url", help="With --stage: another way to the API than the stack's output ApiUrl.")
@shared.of_deployment
@shared.failures
def dashboard(
    *, port: int | None, open_browser: bool, no_token: bool, api_url: str | None, **options: Any
) -> None:
    """Show batches, ingest health and dead letters in the browser, until Ctrl-C.

    Works on the stack on this machine, whose own dashboard `make up` names already; with --stage, on one in AWS with
    your own credentials. They must be those of a role that the API knows (admin-dashboard-service), and need
    cloudwatch:GetMetricData, cloudformation:DescribeStacks, s3:ListBucket and s3:GetObject on the dead-letter
    bucket; for a replay also s3:PutObject and s3:DeleteObject there, and lambda:InvokeFunction on the ingest
    functions. The API is private: its address must be reachable from here.

    It listens on 127.0.0.1 only and keeps nothing. Other accounts of the machine can connect there too: the address that
    is printed holds a secret, which the browser keeps as a cookie until the dashboard ends.

    \b
    Examples:
      ras dashboard --open
      ras dashboard --stage prod --profile on-call
    """
    from ras.dashboard import serve
    from ras.dashboard.data_source import Reopened, open_source
    from ras.dashboard.request_guard import Access
    from ras.errors import SettingError
    from ras.state_folder import LOCAL, StateDir

    stage = options["stage"]
    if api_url and stage in (None, LOCAL):
        raise SettingError("--api-url goes with --stage")
    # At once, so that what is wrong is told here and not by every page.
    source = open_source(stage, profile=options["profile"], region=options["region"], api_url=api_url)
    opener = Reopened(StateDir.default()) if source.is_local else lambda: source
    listening = serve.listen(port or 0)
    access = None if no_token else Access()
    address = serve.address(listening, access)

    def started() -> None:
        click.echo(f"The dashboard of {source.label}: {address}  (Ctrl-C ends it)")
        if open_browser:
            serve.open_in_browser(address, StateDir.default())

    if no_token:
        click.echo(
            "ras: without a token every account of this machine reads students' results here, and replays dead letters,"
            " with your credentials",
            err=True,
        )
    serve.serve(opener, listening, access, started)
