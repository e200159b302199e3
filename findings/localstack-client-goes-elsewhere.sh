#!/usr/bin/env bash
# Packages: localstack-client 2.12 with boto3 1.43.106 (PyPI).
# Common guess: a session that is given `localstack_host` makes clients of that host, as boto3's own do of an endpoint_url.
# Behaviour: where the environment has AWS_ENDPOINT_URL, every client goes there, and an endpoint_url that is given to
#   `client` is replaced by it as well; boto3 takes the address that it is given. With two stacks on a machine the first
#   one's shell decides for both.
# Seen: "session of 127.0.0.1:5001: http://127.0.0.1:6000, its client with an endpoint_url: http://127.0.0.1:6000, boto3: http://127.0.0.1:5001".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check localstack-client==2.12 boto3==1.43.106
cd "$folder"
AWS_ENDPOINT_URL=http://127.0.0.1:6000 venv/bin/python - <<'PYTHON'
import sys

import boto3
import localstack_client.session

given, elsewhere = "http://127.0.0.1:5001", "http://127.0.0.1:6000"
session = localstack_client.session.Session(localstack_host="127.0.0.1:5001")
found = session.client("sqs").meta.endpoint_url
asked = session.client("sqs", endpoint_url=given).meta.endpoint_url
own = boto3.client(
    "sqs", endpoint_url=given, region_name="eu-north-1", aws_access_key_id="x", aws_secret_access_key="x"
).meta.endpoint_url
print(f"session of 127.0.0.1:5001: {found}, its client with an endpoint_url: {asked}, boto3: {own}")
sys.exit("This has changed." if (found, asked, own) != (elsewhere, elsewhere, given) else 0)
PYTHON
