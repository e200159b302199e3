"""The topic that alarms go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.template.given import ACCOUNT

if TYPE_CHECKING:
    from tests.template.synth import Assembly


def test_topic_takes_alarms_of_the_account_only_and_is_encrypted(aws_stage: Assembly) -> None:
    """Under our key, as an alarm cannot publish under the one that AWS manages; nothing over plain HTTP."""
    topic = aws_stage.only("operations", "AWS::SNS::Topic")
    (key,) = aws_stage.resources("data", "AWS::KMS::Key")
    policy = aws_stage.only("operations", "AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    allowed = [statement for statement in policy if statement["Effect"] == "Allow"]
    denied = [statement for statement in policy if statement["Effect"] == "Deny"]
    (of_key,) = (
        statement
        for statement in aws_stage.only("data", "AWS::KMS::Key")["KeyPolicy"]["Statement"]
        if statement.get("Sid") == "Alarms"
    )

    assert topic["KmsMasterKeyId"] == aws_stage.resolve("data", {"Fn::GetAtt": [key, "Arn"]})
    for statement in (*allowed, of_key):
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert [statement["Action"] for statement in allowed] == ["sns:Publish"]
    assert [statement["Condition"] for statement in denied] == [{"Bool": {"aws:SecureTransport": "false"}}]
