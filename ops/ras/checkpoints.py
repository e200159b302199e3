"""Notes on how far a long command is: it may be stopped at any time, and the same command goes on there.

In a folder they are this machine's; in a stage's bucket, whoever runs the command goes on, wherever that is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from ras.state_folder import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_s3 import S3Client


class Checkpoints(Protocol):
    """Checkpoints by name, each a JSON document."""

    def read(self, name: str) -> Any:
        """A note's content: None where there is none, and nothing ({}) of one that is no JSON."""
        ...

    def write(self, name: str, content: Any) -> None:
        """Keep a note, in place of what there was of that name."""
        ...

    def remove(self, name: str) -> None:
        """Remove a note, if it is there."""
        ...

    def clear(self) -> None:
        """Remove all of them."""
        ...


class FolderCheckpoints:
    """Checkpoints as files of a folder, which is made for the first one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> Any:
        try:
            return _content(self._path(name).read_bytes())
        except OSError:
            return None

    def write(self, name: str, content: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_private(self._path(name), json.dumps(content))

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def clear(self) -> None:
        for path in self._folder.glob("*.json"):
            path.unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


class BucketCheckpoints:
    """Checkpoints as objects under a prefix. Methods raise botocore's errors when S3 refuses or does not answer."""

    def __init__(self, s3: S3Client, bucket: str, prefix: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._prefix = prefix

    def read(self, name: str) -> Any:
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._key(name))
        except self._s3.exceptions.NoSuchKey:
            return None
        return _content(answer["Body"].read())

    def write(self, name: str, content: Any) -> None:
        self._s3.put_object(
            Bucket=self._bucket,
            Key=self._key(name),
            Body=json.dumps(content).encode(),
            ContentType="application/json",
        )

    def remove(self, name: str) -> None:
        self._s3.delete_object(Bucket=self._bucket, Key=self._key(name))

    def clear(self) -> None:
        for name in self.names():
            self.remove(name)

    def names(self) -> list[str]:
        """The names of all notes, sorted."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        keys = [listed["Key"] for page in pages for listed in page.get("Contents", [])]
        return [key.removeprefix(self._prefix).removesuffix(".json") for key in keys]

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}.json"


def _content(written: bytes) -> Any:
    try:
        return json.loads(written)
    except ValueError:
        return {}
