"""The command line: event source mappings between a broker and functions, until SIGTERM."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from botocore.exceptions import BotoCoreError

from .aws import AwsAccess
from .connections import FUNCTION_CONCURRENCY, Connections
from .errors import MappingsUnknownError
from .poller import REFRESH_S, Poller
from .process import log_to_standard_output, run_until_terminated
from .records import Nulls
from .sources import LambdaMappings, MappingsFile
from .status import StatusFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .sources import ListMappings

_DESCRIPTION = """\
Do what AWS Lambda does for event source mappings of Amazon MSK: read Kafka topics with consumer groups, invoke
functions with the events that AWS sends, retry, split, write to on-failure destinations, commit.

Functions are invoked through Lambda's Invoke API, at --endpoint-url or wherever boto3 finds AWS; keys and region are
looked up as boto3 does (AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_DEFAULT_REGION, ...; an emulator takes any keys).
It runs until SIGTERM or Ctrl-C; then a batch that is being delivered is waited for and committed, and it exits with 0.
"""

_EPILOG = """\
example: mappings from a file, any keys
  AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test %(prog)s --bootstrap-servers 127.0.0.1:9092 \\
      --endpoint-url http://127.0.0.1:4566 --region eu-north-1 --mappings mappings.json --status status.json

mappings.json is a list of what `aws lambda get-event-source-mapping` answers, or the output of
`aws lambda list-event-source-mappings`; UUID, Topics and FunctionArn suffice:
  [{"UUID": "essays-1", "Topics": ["essays"], "FunctionArn": "my-function", "BatchSize": 50}]
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bootstrap-servers", required=True, metavar="HOST:PORT,...", help="the brokers, comma-joined"
    )
    mappings = parser.add_mutually_exclusive_group(required=True)
    mappings.add_argument(
        "--mappings",
        type=Path,
        metavar="FILE",
        help="read the mappings from this JSON file, again when it changes",
    )
    mappings.add_argument(
        "--from-lambda", action="store_true", help="list the mappings from Lambda's API, those for MSK"
    )
    parser.add_argument("--endpoint-url", metavar="URL", help="where Lambda's API answers, for an emulator")
    parser.add_argument("--region", help="the AWS region")
    parser.add_argument(
        "--status", type=Path, metavar="FILE", help="write each mapping's state and counts here"
    )
    parser.add_argument(
        "--kafka-config",
        type=Path,
        metavar="FILE",
        help="librdkafka's settings, `name=value` a line (security.protocol, sasl.username, ...)",
    )
    parser.add_argument(
        "--function-concurrency",
        type=_positive,
        default=FUNCTION_CONCURRENCY,
        metavar="N",
        help="invocations of one function at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--nulls",
        type=Nulls,
        choices=list(Nulls),
        default=Nulls.ABSENT,
        help="how events show null keys and values (default: %(default)s)",
    )
    parser.add_argument(
        "--grant-trust",
        action="store_true",
        help="on an emulator: a function's role that trusts Lambda alone trusts its account while it is assumed, to"
        " write to on-failure destinations (changes the role; not for AWS)",
    )
    parser.add_argument(
        "--refresh",
        type=_positive,
        default=int(REFRESH_S),
        metavar="SECONDS",
        help="how often the mappings are looked at again (default: %(default)s)",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)


def read_kafka_config(path: Path) -> dict[str, str]:
    """Settings, `name=value` a line; empty lines and those with # in front are skipped. Raises OSError, ValueError."""
    settings = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"line {number} is not name=value")
        settings[name.strip()] = value.strip()
    return settings


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run until SIGTERM. Exits with 2, and says why on standard error, where it cannot start."""
    parser = _parser()
    options = parser.parse_args(arguments)
    aws = AwsAccess(options.endpoint_url, options.region)
    try:
        functions = aws.functions
        kafka_options = read_kafka_config(options.kafka_config) if options.kafka_config else {}
        list_mappings: ListMappings = (
            LambdaMappings(functions) if options.from_lambda else MappingsFile(options.mappings)
        )
        if options.mappings:
            list_mappings()  # a file that cannot be read now is a mistake; later it may be half written
        if not aws.has_credentials:
            parser.error(
                "no AWS credentials were found; an emulator takes any, AWS_ACCESS_KEY_ID=test and so on"
            )
        if options.status and not options.status.parent.is_dir():
            parser.error(f"there is no folder for {options.status}")
    except (BotoCoreError, OSError, ValueError, MappingsUnknownError) as error:
        parser.error(str(error))
    connections = Connections(
        options.bootstrap_servers,
        aws,
        kafka_options=kafka_options,
        nulls=options.nulls,
        function_concurrency=options.function_concurrency,
        grant_trust=options.grant_trust,
    )
    report = StatusFile(options.status).write if options.status else lambda _: None
    log_to_standard_output()
    run_until_terminated(Poller(list_mappings, connections.mapping, report=report, refresh_s=options.refresh))


if __name__ == "__main__":
    main(sys.argv[1:])
