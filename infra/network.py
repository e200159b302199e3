"""The private network: a VPC without a way out, and the door to the API."""

from collections.abc import Sequence

from aws_cdk import Acknowledgment, Aws, CfnResource, Fn, RemovalPolicy, Stack, Validations
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct, IConstruct

from infra.data import removal
from infra.functions import retention
from infra.setting_types import ExistingVpc
from infra.settings import Settings

# As many as a cluster of ours spreads over. `settings.zone_names` is for regions and accounts with fewer, or with one
# that MSK does not serve (MSK developer guide: us-west-1 takes two subnets; none may be in use1-az3).
MOST_ZONES = 3


class NetworkStack(Stack):
    """A stack whose VPC takes its zones as CloudFormation names them.

    By itself a stack of a known account asks AWS for them at synth time, which needs credentials.
    """

    @property
    def availability_zones(self) -> list[str]:
        return [Fn.select(zone, Fn.get_azs()) for zone in range(MOST_ZONES)]


class PrivateNetwork(Construct):
    """The VPC (given, or made with isolated subnets only) and its endpoints.

    There is no NAT gateway: functions run outside the VPC, and pollers in provisioned mode need no endpoint.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        caller_role_arns: Sequence[str],
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._cidr = settings.vpc.cidr if settings.vpc else settings.new_vpc_cidr
        self.vpc: ec2.IVpc = self._given(settings.vpc) if settings.vpc else self._made(settings, key)
        self.api_endpoint = self._interface_endpoint(
            "ExecuteApi", ec2.InterfaceVpcEndpointAwsService.APIGATEWAY
        )
        for statement in endpoint_policy(self, caller_role_arns):
            self.api_endpoint.add_to_policy(statement)
        # On-demand pollers call Lambda and STS from the cluster's subnets. Those made here have no other way out; in
        # others they take these doors as well, once they are there.
        polled = not settings.provisioned
        doors = []
        if (polled and settings.cluster_arn is None) or settings.operator_endpoints:
            doors += [
                ("Lambda", ec2.InterfaceVpcEndpointAwsService.LAMBDA_, "lambda:InvokeFunction"),
                ("Sts", ec2.InterfaceVpcEndpointAwsService.STS, "sts:AssumeRole"),
            ]
        if settings.operator_endpoints:
            # No door to the MSK API: it has none for Serverless clusters, so commands are given the brokers' address.
            doors.append(("CloudFormation", ec2.InterfaceVpcEndpointAwsService.CLOUDFORMATION, ""))
        for construct_id, service, action in doors:
            door = self._interface_endpoint(construct_id, service)
            if settings.vpc is None:
                _let_in(door, action if polled else "")

    def _made(self, settings: Settings, key: kms.IKey | None) -> ec2.Vpc:
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(settings.new_vpc_cidr),
            availability_zones=list(settings.zone_names) or None,
            max_azs=None if settings.zone_names else settings.availability_zones,
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
            ],
            # Emptying the default group takes a custom resource with a function; nothing here uses the group.
            restrict_default_security_group=False,
        )
        # Free, and on the way of whoever reads the view or the dead letters from inside the VPC.
        for construct_id, service in (
            ("DynamoDb", ec2.GatewayVpcEndpointAwsService.DYNAMODB),
            ("S3", ec2.GatewayVpcEndpointAwsService.S3),
        ):
            gateway = vpc.add_gateway_endpoint(construct_id, service=service)
            # Whatever keys somebody brings, they lead to what is in this account alone. Batches that Lambda gives up go
            # into the account's own bucket, so they pass.
            gateway.add_to_policy(_own_account("aws:ResourceAccount"))
        if settings.cluster_arn is None:
            # Brokers that stay need their subnets, and those their VPC.
            for kept in (vpc, *vpc.isolated_subnets):
                _network_resource(kept).apply_removal_policy(removal(settings))
        # What was let through is in the API's and the brokers' own logs; here is who knocked elsewhere.
        refused = logs.LogGroup(
            self,
            "Refused",
            log_group_name=f"/aws/vpc/{settings.name('refused')}",
            retention=retention(settings),
            encryption_key=key,
            removal_policy=RemovalPolicy.DESTROY,
        )
        vpc.add_flow_log(
            "FlowLog",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(refused),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )
        return vpc

    def _given(self, given: ExistingVpc) -> ec2.IVpc:
        for service in ("dynamodb", "s3") if given.route_table_ids else ():
            ec2.CfnVPCEndpoint(
                self,
                {"dynamodb": "DynamoDb", "s3": "S3"}[service],
                vpc_id=given.vpc_id,
                service_name=f"com.amazonaws.{Aws.REGION}.{service}",
                vpc_endpoint_type="Gateway",
                route_table_ids=list(given.route_table_ids),
            )
        vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=given.vpc_id,
            vpc_cidr_block=given.cidr,
            # Asked for, and used by nothing here: a subnet says itself in which zone it is.
            availability_zones=[f"zone-{number}" for number in range(len(given.subnet_ids))],
            isolated_subnet_ids=list(given.subnet_ids),
        )
        for subnet in vpc.isolated_subnets:
            Validations.of(subnet).acknowledge(
                Acknowledgment(
                    id="Annotation::@aws-cdk/aws-ec2:noSubnetRouteTableId",
                    reason="Nothing here adds a route to a subnet that others made.",
                )
            )
        return vpc

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
            ec2.Peer.ipv4(self._cidr),
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


def _network_resource(construct: IConstruct) -> CfnResource:
    """What a VPC, or a subnet, is made of besides its routes."""
    made = construct.node.default_child or construct.node.find_child("Subnet")
    if not isinstance(made, CfnResource):
        raise AssertionError(f"{construct.node.path} is not made of a resource of its own")
    return made


def _own_account(whose: str) -> iam.PolicyStatement:
    """Everything where `whose`, the condition key of the caller's account or of the resource's, is this account.

    Without a policy an endpoint has full access (VPC guide, "Control access to VPC endpoints using endpoint policies").
    """
    return iam.PolicyStatement(
        sid="OwnAccount",
        principals=[iam.AnyPrincipal()],
        actions=["*"],
        resources=["*"],
        conditions={"StringEquals": {whose: Aws.ACCOUNT_ID}},
    )


def _let_in(door: ec2.InterfaceVpcEndpoint, action: str) -> None:
    """This account, and where pollers come by for an action, the service that they are.

    In a VPC that was given these doors take over for whoever else lives there: other accounts of a shared one, and
    calls of nobody's yet, such as `sts:AssumeRoleWithWebIdentity`. So there they are open, as the gateways are.

    AWS allows the second to be narrowed to that service, but wants it on every resource (Lambda guide, "Configuring
    your Amazon MSK cluster and Amazon VPC network for Lambda").
    """
    door.add_to_policy(_own_account("aws:PrincipalAccount"))
    if action:
        # A service is of no account, so a condition on the principal's would shut the pollers out.
        door.add_to_policy(
            iam.PolicyStatement(
                sid="Pollers",
                principals=[iam.ServicePrincipal("lambda.amazonaws.com")],
                actions=[action],
                resources=["*"],
            )
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
            resources=[f"{apis}/*/{method}/healthz" for method in ("GET", "HEAD")],
        ),
    ]


def role_arn(role: str) -> str:
    """A role's ARN, from itself or from the name of a role in the account that deploys."""
    return role if role.startswith("arn:") else f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/{role}"
