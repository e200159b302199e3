#!/usr/bin/env bash
# Packages: moto 5.2.5 with boto3 1.43.106 (PyPI).
# Common guess: the ConsumedCapacity that moto returns is DynamoDB's arithmetic, so a test on it can hold a cost budget.
# Behaviour: an UpdateItem counts 0.5 and a PutItem 1, whatever the item's size, and an index counts nothing; DynamoDB
#   bills a write unit per KB begun of the larger of the item before and after, and the index's writes beside it.
#   A page of a global secondary index ends by the size of whole items, not by that of what is projected.
# Seen: "UpdateItem of 10 KB: 0.5, PutItem of 10 KB: 1.0, pages of 30 entries of some bytes: 2".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "moto[dynamodb]==5.2.5" boto3==1.43.106
cd "$folder"
AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=eu-north-1 venv/bin/python - <<'PYTHON'
import sys

import boto3
from moto import mock_aws

with mock_aws():
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="items",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "owner")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-owner",
                "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}, {"AttributeName": "pk", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    updated = client.update_item(
        TableName="items",
        Key={"pk": {"S": "updated"}},
        UpdateExpression="SET body = :body",
        ExpressionAttributeValues={":body": {"S": "x" * 10_000}},
        ReturnConsumedCapacity="TOTAL",
    )["ConsumedCapacity"]["CapacityUnits"]
    put = client.put_item(
        TableName="items", Item={"pk": {"S": "put"}, "body": {"S": "x" * 10_000}}, ReturnConsumedCapacity="TOTAL"
    )["ConsumedCapacity"]["CapacityUnits"]
    for number in range(30):
        client.put_item(
            TableName="items",
            Item={"pk": {"S": f"{number:02}"}, "owner": {"S": "one"}, "body": {"S": "x" * 50_000}},
        )
    pages = list(
        client.get_paginator("query").paginate(
            TableName="items",
            IndexName="by-owner",
            KeyConditionExpression="#owner = :one",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":one": {"S": "one"}},
        )
    )
    assert sum(len(page["Items"]) for page in pages) == 30
    print(f"UpdateItem of 10 KB: {updated}, PutItem of 10 KB: {put}, pages of 30 entries of some bytes: {len(pages)}")
    sys.exit("This has changed." if (updated, put, len(pages)) != (0.5, 1.0, 2) else 0)
PYTHON
