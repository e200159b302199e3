"""The private network: a VPC without a way out, the door to the API, and the cluster where it is ours."""

from collections.abc import Sequence

from aws_cdk import Aws, Fn, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_msk as msk
from constructs import Construct

from infra.settings import Settings

IAM_BROKER_PORT = 9098
# Every region has three zones, some have more.
MOST_ZONES = 3


class NetworkStack(Stack):
    """A stack whose VPC takes its zones as CloudFormation names them.

    By itself a stack of a known account asks AWS for them at synth time, which needs credentials.
    """

    @property
    def availability_zones(self) -> list[str]:
        return [Fn.select(zone, Fn.get_azs()) for zone in range(MOST_ZONES)]


class PrivateNetwork(Construct):
    """A VPC with isolated subnets only.

    There is no NAT gateway: functions run outside the VPC, and pollers in provisioned mode need no endpoint.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, caller_role_arns: Sequence[str]
    ) -> None:
        super().__init__(scope, construct_id)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            max_azs=settings.availability_zones,
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24
                )
            ],
            # Emptying the default group takes a custom resource with a function; nothing here uses the group.
            restrict_default_security_group=False,
        )
        # Free, and on the way of whoever reads the view or the dead letters from inside the VPC.
        self.vpc.add_gateway_endpoint("DynamoDb", service=ec2.GatewayVpcEndpointAwsService.DYNAMODB)
        self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        self.api_endpoint = self._interface_endpoint(
            "ExecuteApi", ec2.InterfaceVpcEndpointAwsService.APIGATEWAY
        )
        for statement in endpoint_policy(self, caller_role_arns):
            self.api_endpoint.add_to_policy(statement)
        if not settings.provisioned and settings.cluster_arn is None:
            # On-demand pollers call these from the cluster's subnets, which have no other way out.
            self._interface_endpoint("Lambda", ec2.InterfaceVpcEndpointAwsService.LAMBDA_)
            self._interface_endpoint("Sts", ec2.InterfaceVpcEndpointAwsService.STS)

    def _interface_endpoint(
        self, construct_id: str, service: ec2.InterfaceVpcEndpointAwsService
    ) -> ec2.InterfaceVpcEndpoint:
        group = ec2.SecurityGroup(
            self,
            f"{construct_id}Door",
            vpc=self.vpc,
            description=f"Who reaches the {construct_id} endpoint",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(
            ec2.Peer.ipv4(self.vpc.vpc_cidr_block),
            ec2.Port.tcp(443),
            "HTTPS from inside the VPC; IAM decides who",
        )
        return self.vpc.add_interface_endpoint(
            construct_id,
            service=service,
            open=False,
            security_groups=[group],
            # With private DNS the endpoint would answer for every API Gateway host, also for public APIs that it
            # cannot reach. Callers use the API's own name for this endpoint (the ApiUrl output).
            private_dns_enabled=construct_id != "ExecuteApi",
        )


def endpoint_policy(scope: Construct, caller_role_arns: Sequence[str]) -> list[iam.PolicyStatement]:
    """What may pass the execute-api endpoint: the named callers, and anybody's question after the health."""
    apis = Stack.of(scope).format_arn(service="execute-api", resource="*")
    return [
        iam.PolicyStatement(
            sid="NamedCallers",
            principals=[iam.AnyPrincipal()],
            actions=["execute-api:Invoke"],
            resources=[apis],
            # Endpoint policies match the role by this key; a role ARN as principal is not safe in all of them.
            conditions={"ArnEquals": {"aws:PrincipalArn": list(caller_role_arns)}},
        ),
        iam.PolicyStatement(
            sid="Health",
            principals=[iam.AnyPrincipal()],
            actions=["execute-api:Invoke"],
            resources=[f"{apis}/*/GET/healthz"],
        ),
    ]


class ServerlessCluster(Construct):
    """An MSK Serverless cluster (IAM authentication is its only one) in the VPC, with a reasoned security group."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, vpc: ec2.IVpc) -> None:
        super().__init__(scope, construct_id)
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
        cluster = msk.CfnServerlessCluster(
            self,
            "Cluster",
            cluster_name=settings.name("events"),
            client_authentication=msk.CfnServerlessCluster.ClientAuthenticationProperty(
                sasl=msk.CfnServerlessCluster.SaslProperty(
                    iam=msk.CfnServerlessCluster.IamProperty(enabled=True)
                )
            ),
            vpc_configs=[
                msk.CfnServerlessCluster.VpcConfigProperty(
                    subnet_ids=vpc.select_subnets(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED).subnet_ids,
                    security_groups=[group.security_group_id],
                )
            ],
        )
        self.cluster_arn = cluster.attr_arn


def role_arn(role: str) -> str:
    """A role's ARN, from itself or from the name of a role in the account that deploys."""
    return role if role.startswith("arn:") else f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/{role}"
