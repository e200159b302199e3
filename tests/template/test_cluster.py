"""The cluster of a stage's own: who gets in, and what its topics and brokers are."""

from __future__ import annotations

from result_aggregator.topics import TOPICS

from tests.template.synth import Assembly, assembly

MAPPING = "AWS::Lambda::EventSourceMapping"


def test_own_cluster_takes_iam_only(prod: Assembly) -> None:
    """An MSK Serverless cluster, in the isolated subnets."""
    cluster = prod.only("msk", "AWS::MSK::ServerlessCluster")

    assert cluster["ClientAuthentication"] == {"Sasl": {"Iam": {"Enabled": True}}}
    assert len(cluster["VpcConfigs"][0]["SubnetIds"]) == prod.settings.availability_zones
    assert "ClusterArn" in prod.outputs("msk")


def test_provisioned_cluster_by_setting() -> None:
    """One broker a zone, TLS and IAM only, and every topic of the service as a resource on all brokers."""
    stage = assembly(
        "prod",
        new_cluster="provisioned",
        alarm_emails='["on-call@example.com"]',
        runbook_url="https://wiki/x",
    )
    cluster = stage.only("msk", "AWS::MSK::Cluster")
    topics = stage.properties("msk", "AWS::MSK::Topic")
    (arn,) = {topic["ClusterArn"] for topic in topics}

    assert cluster["NumberOfBrokerNodes"] == len(cluster["BrokerNodeGroupInfo"]["ClientSubnets"]) == 3
    assert cluster["ClientAuthentication"] == {
        "Sasl": {"Iam": {"Enabled": True}},
        "Unauthenticated": {"Enabled": False},
    }
    assert cluster["EncryptionInfo"]["EncryptionInTransit"] == {"ClientBroker": "TLS", "InCluster": True}
    assert sorted(topic["TopicName"] for topic in topics) == sorted(TOPICS)
    assert {(topic["PartitionCount"], topic["ReplicationFactor"]) for topic in topics} == {(6, 3)}
    mapped = {mapping["EventSourceArn"] for mapping in stage.properties("ingest", MAPPING)}
    assert mapped == {arn} == {stage.outputs("msk")["ClusterArn"]}
    assert not stage.resources("msk", "AWS::MSK::ServerlessCluster")


PROVISIONED = {
    "new_cluster": "provisioned",
    "alarm_emails": '["on-call@example.com"]',
    "runbook_url": "https://wiki/x",
}


def test_changed_broker_properties_reach_the_cluster() -> None:
    """The cluster takes the configuration's latest revision, whichever it is."""
    stage = assembly("prod", **PROVISIONED)
    (configuration,) = stage.resources("msk", "AWS::MSK::Configuration")
    (cluster,) = stage.resources("msk", "AWS::MSK::Cluster").values()

    assert cluster["Properties"]["ConfigurationInfo"]["Revision"] == {
        "Fn::GetAtt": [configuration, "LatestRevision.Revision"]
    }


def _told(stage: str, **overrides: str) -> list[str]:
    found = assembly(stage, new_cluster="provisioned", **overrides)
    return [
        str(entry["data"])
        for entries in found.metadata.values()
        for entry in entries
        if entry["type"] == "aws:cdk:warning"
    ]


def test_two_brokers_are_told_where_data_is_kept() -> None:
    """With one replica in sync required, a broker's failure after another's maintenance loses what was acknowledged."""
    (told,) = _told("staging", availability_zones="2")

    assert "min.insync.replicas=1" in told
    assert _told("staging") == _told("prod") == _told("dev") == []
