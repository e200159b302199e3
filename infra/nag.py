"""Findings of cdk-nag's AwsSolutions rules that stand, each on the construct that it is about and with its reason."""

from aws_cdk import Acknowledgment, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Let one finding of one construct stand. `rule` is as in cdk-nag's report without its prefix, `S1` for example."""
    Validations.of(construct).acknowledge(
        Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    )


def acknowledge_star(role: iam.IRole, resource: str, reason: str) -> None:
    """Let one wildcard in a role's policy stand: `resource` is the ARN as the report shows it."""
    acknowledge(role.node.find_child("DefaultPolicy"), f"IAM5[Resource::{resource}]", reason)
