"""Whom the repository's workflows are in AWS: two roles per stage, which GitHub's tokens of one environment each may assume.

No key is stored anywhere. Which job gets a token for an environment is decided on GitHub: by its branches and reviewers.
"""

from aws_cdk import Aws, DefaultStackSynthesizer, RemovalPolicy
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.nag import acknowledge_star
from infra.settings import Settings

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"


class GitHubRoles(Construct):
    """`deploy` for the environment named as the stage, `diff` for `<stage>-diff`, which pull requests run in.

    A pull request runs its own code with the rights of `diff`, so these are the templates of the stage's stacks and
    nothing else. Bootstrap's lookup role, which `cdk diff` asks for first, reads nearly the whole account: it is not
    allowed, and the CDK goes on with the rights of the role itself.

    `repository` is written as in the subject of its tokens: `owner/name`, or `owner@id/name@id` for repositories that
    were made, renamed or moved since 15 July 2026, or took that form themselves. A name can be somebody else's one
    day, ids cannot (https://github.blog/changelog/2026-04-23-immutable-subject-claims-for-github-actions-oidc-tokens).
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, repository: str) -> None:
        super().__init__(scope, construct_id)
        provider_arn = f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:oidc-provider/{ISSUER}"
        if settings.github_provider:
            provider = iam.CfnOIDCProvider(
                self, "Provider", url=f"https://{ISSUER}", client_id_list=[AUDIENCE]
            )
            # It is the account's, and whatever else deploys from GitHub needs it too.
            provider.apply_removal_policy(RemovalPolicy.RETAIN)
            provider_arn = provider.attr_arn

        def role(name: str, environment: str, description: str) -> iam.Role:
            claims = {
                f"{ISSUER}:aud": AUDIENCE,
                f"{ISSUER}:sub": f"repo:{repository}:environment:{environment}",
            }
            return iam.Role(
                self,
                name.capitalize(),
                role_name=settings.name(f"github-{name}"),
                assumed_by=iam.WebIdentityPrincipal(provider_arn, {"StringEquals": claims}),
                description=description,
            )

        self.deploy = role("deploy", settings.stage, f"Deploys stage {settings.stage} by bootstrap's roles")
        bootstrapped = DefaultStackSynthesizer.DEFAULT_QUALIFIER
        self.deploy.add_to_policy(
            iam.PolicyStatement(
                sid="Bootstrapped",
                actions=["sts:AssumeRole"],
                resources=[
                    f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/"
                    f"cdk-{bootstrapped}-{part}-role-{Aws.ACCOUNT_ID}-{Aws.REGION}"
                    for part in ("deploy", "file-publishing", "lookup")
                ],
            )
        )
        self.diff = role("diff", f"{settings.stage}-diff", f"Reads the templates of stage {settings.stage}")
        stacks = (
            f"arn:{Aws.PARTITION}:cloudformation:{Aws.REGION}:{Aws.ACCOUNT_ID}:stack/{settings.name('*')}/*"
        )
        self.diff.add_to_policy(
            iam.PolicyStatement(
                sid="Templates",
                actions=["cloudformation:DescribeStacks", "cloudformation:GetTemplate"],
                resources=[stacks],
            )
        )
        acknowledge_star(
            self.diff,
            stacks.replace(Aws.PARTITION, "<AWS::Partition>")
            .replace(Aws.REGION, "<AWS::Region>")
            .replace(Aws.ACCOUNT_ID, "<AWS::AccountId>"),
            "The stage's stacks and no others, some of which a pull request may just be adding; a stack's id ends with"
            " what CloudFormation makes up.",
        )
