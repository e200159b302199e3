#!/usr/bin/env bash
# Packages: pytest-xdist 3.8.0 (PyPI, July 2025), the newest, with pytest 9.2.0 and with pytest 8.4.2.
# Common guess: `pytest --dist=loadgroup` runs all tests marked xdist_group("x") in one worker, as its documentation says.
# Behaviour: with pytest 9.2.0 the marks do nothing, and nothing says so: the tests of one group are spread over the
#   workers, each of which starts the group's servers for itself. xdist appends the group to `item._nodeid`; pytest 9.2
#   does not read that attribute any more. With pytest 8.4.2 a group stays together.
# Seen: "pytest 8.4.2: 1 worker", "pytest 9.2.0: 2 workers".
# What helps: a scheduler of one's own (hook pytest_xdist_make_scheduler), or --dist=loadfile.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/test_group.py" <<'PYTHON'
import time

import pytest

pytestmark = pytest.mark.xdist_group("one")


@pytest.mark.parametrize("number", range(8))
def test_of_the_group(number, worker_id):
    time.sleep(0.2)  # so that the other worker has time to take its share
    with open("workers", "a") as file:
        file.write(worker_id + "\n")
PYTHON

workers() { # of one group, under a version of pytest
  python3 -m venv "$folder/$1"
  "$folder/$1/bin/pip" install --quiet --disable-pip-version-check "pytest==$1" pytest-xdist==3.8.0
  rm -f "$folder/workers"
  (cd "$folder" && "$1/bin/python" -m pytest -q -p no:cacheprovider --numprocesses=2 --dist=loadgroup test_group.py > log) || cat "$folder/log"
  sort -u "$folder/workers" | wc -l
}

old=$(workers 8.4.2) new=$(workers 9.2.0)
echo "pytest 8.4.2: $old worker, pytest 9.2.0: $new workers"
[ "$old" = 1 ] && [ "$new" = 2 ] || { echo "This has changed."; exit 1; }
