"""Lambda's event source mapping for Amazon MSK, without AWS: see README.md.

    connections = Connections("127.0.0.1:9092", AwsAccess("http://127.0.0.1:4566", "eu-north-1", "test", "test"))
    poller = Poller(MappingsFile(Path("mappings.json")), connections.mapping, report=print)
    poller.run(stopping)  # a threading.Event that ends it

It imports the standard library, boto3 and confluent_kafka only, so that the folder can be copied under any name.
"""

from .aws import AwsAccess
from .connections import Connections
from .delivery import Discarded
from .errors import (
    DestinationError,
    InvalidMappingError,
    MalformedResponseError,
    MappingError,
    MappingsUnknownError,
    PatternError,
    StoppedError,
    TopicRemadeError,
)
from .filters import FilterCriteria
from .gate import Gate
from .poller import Poller
from .process import log_to_standard_output, run_until_terminated
from .records import KafkaRecord, Nulls
from .responses import Failed, InvocationResult, Invoke, NotReached, Succeeded
from .running import RunningMapping
from .settings import MappingSettings
from .sources import LambdaMappings, ListMappings, MappingsFile
from .status import StatusFile

__all__ = [
    "AwsAccess",
    "Connections",
    "DestinationError",
    "Discarded",
    "Failed",
    "FilterCriteria",
    "Gate",
    "InvalidMappingError",
    "InvocationResult",
    "Invoke",
    "KafkaRecord",
    "LambdaMappings",
    "ListMappings",
    "MalformedResponseError",
    "MappingError",
    "MappingSettings",
    "MappingsFile",
    "MappingsUnknownError",
    "NotReached",
    "Nulls",
    "PatternError",
    "Poller",
    "RunningMapping",
    "StatusFile",
    "StoppedError",
    "Succeeded",
    "TopicRemadeError",
    "log_to_standard_output",
    "run_until_terminated",
]
