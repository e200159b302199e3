"""MSK as its clients meet it: an Apache Kafka that wants IAM's token over TLS, and every right by itself.

What is real: the broker, its TLS, its OAUTHBEARER and its authorizer. What stands in: `MskIam.java` for AWS's check of
the token, ACLs for a role's policy, and a certificate of the tests' own CA.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget them
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from ras.kafka.client import quiet_client
from ras.state_folder import write_private
from ras_local.servers import apache_kafka, java_servers, processes
from ras_local.settings import region

from tests.real_servers import KAFKA, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ras.aws import Cloud
    from ras_local.settings import StackDir
    from result_aggregator.store.aws import AccessKeys

# What each action of a policy is in Kafka's own words, and which other one Kafka takes it to imply: MSK does not.
# https://docs.aws.amazon.com/msk/latest/developerguide/kafka-actions.html
_ACTIONS = {
    "DescribeTopic": (ResourceType.TOPIC, AclOperation.DESCRIBE),
    "ReadData": (ResourceType.TOPIC, AclOperation.READ),
    "WriteData": (ResourceType.TOPIC, AclOperation.WRITE),
    "DescribeGroup": (ResourceType.GROUP, AclOperation.DESCRIBE),
    "AlterGroup": (ResourceType.GROUP, AclOperation.READ),
    "WriteDataIdempotently": (ResourceType.BROKER, AclOperation.IDEMPOTENT_WRITE),
}
_IMPLIED = {"ReadData": "DescribeTopic", "WriteData": "DescribeTopic", "AlterGroup": "DescribeGroup"}
_CLUSTER = "kafka-cluster"  # Kafka's name for the only one there is

_PROPERTIES = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
# Who comes by the other listeners: the broker itself, and the tests.
super.users=User:ANONYMOUS
listener.name.guarded.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.guarded.oauthbearer.sasl.server.callback.handler.class=MskIam
listener.name.guarded.oauthbearer.sasl.login.callback.handler.class=MskIam
listener.name.guarded.oauthbearer.sasl.jaas.config=\\
  org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required keys="{keys}" region="{region}";
# A connection ends with its token, unless the client brings a new one (KIP-368).
listener.name.guarded.oauthbearer.connections.max.reauth.ms=3600000
listener.name.guarded.ssl.keystore.type=PEM
listener.name.guarded.ssl.keystore.location={certificate}
"""


@dataclass(frozen=True)
class Right:
    """An action of a policy, and the resource's name as in its ARN; a name that ends in `*` means all that begin so."""

    action: str
    name: str = _CLUSTER

    def __str__(self) -> str:
        return f"{self.action} on {self.name}"

    def binding(self, principal: str, permission: AclPermissionType) -> AclBinding:
        kind, operation = _ACTIONS[self.action]
        pattern = ResourcePatternType.PREFIXED if self.name.endswith("*") else ResourcePatternType.LITERAL
        return AclBinding(
            kind, self.name.rstrip("*"), pattern, f"User:{principal}", "*", operation, permission
        )


@dataclass(frozen=True)
class Msk:
    """A cluster. `bootstrap_servers` want a token, `unguarded` are the same brokers for the tests themselves."""

    bootstrap_servers: str
    unguarded: str
    ca: Path
    keys: Path

    def know(self, who: AccessKeys, principal: str, *, connect: bool = True) -> None:
        """Take tokens that these credentials have signed for the principal's; `connect` is its right to do so."""
        known = f"{who.secret_access_key} {who.session_token or '-'} {principal} {'connect' if connect else 'refused'}"
        write_private(self.keys, f"{who.access_key_id}={known}\n")

    def allow(self, principal: str, rights: Iterable[Right]) -> None:
        """Give a principal that has none yet these rights, and no other."""
        given = set(rights)
        bindings = [right.binding(principal, AclPermissionType.ALLOW) for right in given]
        for right in given:
            implied = _IMPLIED.get(right.action)
            if implied and Right(implied, right.name) not in given:
                bindings.append(Right(implied, right.name).binding(principal, AclPermissionType.DENY))
        if not bindings:
            return
        admin = AdminClient(quiet_client(self.unguarded))
        for future in admin.create_acls(bindings, request_timeout=30).values():
            future.result()
        # Taken is not in force: the authorizer learns of it like any other change.
        anything: Any = None  # which its stubs do not know
        whose = AclBindingFilter(
            ResourceType.ANY,
            anything,
            ResourcePatternType.ANY,
            f"User:{principal}",
            anything,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        deadline = time.monotonic() + 30
        while len(admin.describe_acls(whose, request_timeout=30).result()) < len(bindings):
            assert time.monotonic() < deadline, "the broker has not taken the ACLs"
            time.sleep(0.05)


def start(state: StackDir, topics: Sequence[str], partitions: int) -> tuple[str, Callable[[], Msk]]:
    """Start it; gives its address at once, and how to wait for the rest. Skips the test where Java is missing."""
    require(KAFKA)
    folder = state.root / "msk"
    classes = folder / "classes"
    classes.mkdir(parents=True)
    java_servers.compile_sources(
        [Path(__file__).with_name("MskIam.java")], classes, server=java_servers.fetch(KAFKA)
    )
    certificate, ca, keys = folder / "broker.pem", folder / "ca.pem", folder / "keys"
    _certify(certificate, ca)
    write_private(keys, "")
    port = processes.choose_steady_port("")
    properties = _PROPERTIES.format(keys=keys, region=region(), certificate=certificate)
    ready = apache_kafka.start(
        state, topics, partitions, apache_kafka.SecuredListener(port, properties, classes)
    )
    bootstrap_servers = f"127.0.0.1:{port}"
    return bootstrap_servers, lambda: Msk(bootstrap_servers, ready(), ca, keys)


def named(bootstrap_servers: str) -> dict[str, str]:
    """What the emulator is started with, so that its GetBootstrapBrokers names these brokers."""
    return {"MINISTACK_MSK_BOOTSTRAP_SASL_IAM": bootstrap_servers}


def create(cloud: Cloud) -> str:
    """Make the cluster known to the emulator; its ARN."""
    created = cloud.msk.create_cluster(
        ClusterName="platform",
        KafkaVersion="3.9.x",
        NumberOfBrokerNodes=1,
        BrokerNodeGroupInfo={"InstanceType": "kafka.m7g.large", "ClientSubnets": ["subnet-1"]},
        ClientAuthentication={"Sasl": {"Iam": {"Enabled": True}}},
    )
    arn: str = created["ClusterArn"]
    return arn


def _certify(certificate: Path, ca: Path) -> None:
    """Write the broker's key with its certificate, and that of the CA which made it."""

    def made(name: str, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(issuer, _name(name), key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(ca_key, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("CA of the tests")
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    authority = made("CA of the tests", ca_key, x509.BasicConstraints(ca=True, path_length=None))
    broker = made("broker", key, x509.BasicConstraints(ca=False, path_length=None), address)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(certificate, (private + broker.public_bytes(Encoding.PEM)).decode())
    write_private(ca, authority.public_bytes(Encoding.PEM).decode())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
