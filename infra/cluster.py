"""An MSK cluster of the stage's own, where it is not given one."""

from aws_cdk import Annotations, CfnResource, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_msk as msk
from constructs import Construct, IConstruct
from result_aggregator.topics import TOPICS

from infra.data import removal
from infra.functions import retention
from infra.settings import Settings

IAM_BROKER_PORT = 9098


class Cluster(Construct):
    """A cluster of our own in the VPC, whose only authentication is IAM, with a reasoned security group."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        vpc: ec2.IVpc,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._subnets = vpc.select_subnets(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED).subnet_ids
        self._group = self._brokers_group(vpc)
        # The brokers' interfaces carry the group, so it stays where they do, and so do its rules.
        _apply_to_all(self._group, removal(settings))
        self.security_group_id = self._group.security_group_id
        self.cluster_arn = (
            self._provisioned(key) if settings.new_cluster == "provisioned" else self._serverless()
        )

    def _brokers_group(self, vpc: ec2.IVpc) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self,
            "Brokers",
            vpc=vpc,
            description="The brokers, and the pollers that Lambda places beside them",
            allow_all_outbound=False,
        )
        # A mapping's network interfaces carry the cluster's own group, so the group must let itself in.
        broker = ec2.Port.tcp(IAM_BROKER_PORT)
        group.add_ingress_rule(group, broker, "Pollers and producers with this group reach the brokers (IAM)")
        group.add_egress_rule(group, broker, "Pollers reach the brokers (IAM)")
        group.add_egress_rule(
            ec2.Peer.any_ipv4(),
            ec2.Port.tcp(443),
            "Pollers reach S3 by its gateway endpoint; there is no other way out",
        )
        return group

    def _serverless(self) -> str:
        """Its topics are made by their producers: AWS::MSK::Topic does not know MSK Serverless."""
        cluster = msk.CfnServerlessCluster(
            self,
            "Cluster",
            cluster_name=self._settings.name("events"),
            client_authentication=msk.CfnServerlessCluster.ClientAuthenticationProperty(
                sasl=msk.CfnServerlessCluster.SaslProperty(
                    iam=msk.CfnServerlessCluster.IamProperty(enabled=True)
                )
            ),
            vpc_configs=[
                msk.CfnServerlessCluster.VpcConfigProperty(
                    subnet_ids=self._subnets, security_groups=[self._group.security_group_id]
                )
            ],
        )
        # The topics are all that a view can be rebuilt from.
        cluster.apply_removal_policy(removal(self._settings))
        return cluster.attr_arn

    def _provisioned(self, key: kms.IKey | None) -> str:
        """One broker a zone, every topic of the service on all of them."""
        settings = self._settings
        brokers = len(self._subnets)
        if brokers == 2 and settings.stage not in ("local", "dev"):
            Annotations.of(self).add_warning_v2(
                "ras:twoBrokers",
                "Two brokers with min.insync.replicas=1: what one broker alone has acknowledged, while the other is"
                " patched, is lost with it. Three zones (availability_zones, zone_names, vpc.subnet_ids) give three.",
            )
        configuration = self._configuration(brokers)
        broker_logs = self._broker_logs(key)
        cluster = msk.CfnCluster(
            self,
            "Cluster",
            cluster_name=settings.name("events"),
            kafka_version=settings.kafka_version,
            number_of_broker_nodes=brokers,
            broker_node_group_info=msk.CfnCluster.BrokerNodeGroupInfoProperty(
                instance_type=settings.broker_instance_type,
                client_subnets=self._subnets,
                security_groups=[self._group.security_group_id],
                storage_info=msk.CfnCluster.StorageInfoProperty(
                    ebs_storage_info=msk.CfnCluster.EBSStorageInfoProperty(
                        volume_size=settings.broker_storage_gib
                    )
                ),
            ),
            client_authentication=msk.CfnCluster.ClientAuthenticationProperty(
                sasl=msk.CfnCluster.SaslProperty(iam=msk.CfnCluster.IamProperty(enabled=True)),
                unauthenticated=msk.CfnCluster.UnauthenticatedProperty(enabled=False),
            ),
            encryption_info=msk.CfnCluster.EncryptionInfoProperty(
                encryption_in_transit=msk.CfnCluster.EncryptionInTransitProperty(
                    client_broker="TLS", in_cluster=True
                )
            ),
            configuration_info=msk.CfnCluster.ConfigurationInfoProperty(
                arn=configuration.attr_arn, revision=configuration.attr_latest_revision_revision
            ),
            logging_info=msk.CfnCluster.LoggingInfoProperty(
                broker_logs=msk.CfnCluster.BrokerLogsProperty(
                    cloud_watch_logs=msk.CfnCluster.CloudWatchLogsProperty(
                        enabled=True, log_group=broker_logs.log_group_name
                    )
                )
            ),
        )
        cluster.apply_removal_policy(removal(settings))
        self._topics(cluster, brokers)
        return cluster.attr_arn

    def _configuration(self, brokers: int) -> msk.CfnConfiguration:
        configuration = msk.CfnConfiguration(
            self,
            "Configuration",
            name=self._settings.name("events"),
            server_properties="\n".join(
                (
                    # A consumer that asks for a misspelt topic must not make it.
                    "auto.create.topics.enable=false",
                    f"default.replication.factor={brokers}",
                    f"min.insync.replicas={brokers - 1}",
                )
            ),
        )
        # MSK deletes no configuration that a cluster has.
        configuration.apply_removal_policy(removal(self._settings))
        return configuration

    def _broker_logs(self, key: kms.IKey | None) -> logs.LogGroup:
        return logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/msk/{self._settings.name('events')}",
            retention=retention(self._settings),
            encryption_key=key,
            removal_policy=removal(self._settings),
        )

    def _topics(self, cluster: msk.CfnCluster, replicas: int) -> None:
        """The service's topics, and the one for discarded batches where there is one."""
        settings = self._settings
        for name in [*TOPICS, *([settings.on_failure_topic] if settings.on_failure_topic else [])]:
            topic = msk.CfnTopic(
                self,
                name,
                cluster_arn=cluster.attr_arn,
                topic_name=name,
                partition_count=settings.topic_partitions,
                replication_factor=replicas,
            )
            topic.apply_removal_policy(removal(settings))


def _apply_to_all(construct: IConstruct, policy: RemovalPolicy) -> None:
    for made in construct.node.find_all():
        if isinstance(made, CfnResource):
            made.apply_removal_policy(policy)
