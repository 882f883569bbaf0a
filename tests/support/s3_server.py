"""A server with the S3 protocol in a separate process (moto).

It checks keys and signatures, as Amazon's does. It can be stopped in its tracks, so that
connections are taken and never answered, or ended, so that they are refused.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from tests.support.servers import free_port, wait_for_port

BUCKET = "harbour-documents"
ANYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


class S3Server:
    """One server with a bucket, and someone who may use it."""

    def __init__(self, directory: Path) -> None:
        """Take where its log goes."""
        self._log = directory / "s3.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key, self.secret = "", ""

    def __enter__(self) -> Self:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-p", str(self.port)],
                stdout=log,
                stderr=log,
            )
        try:
            wait_for_port(self.port)
            self._let_in()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._end()

    def _end(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def _let_in(self) -> None:
        """Make a bucket and a user, and look at keys from here on."""
        iam = self._client("iam", "nobody", "nothing")
        iam.create_user(UserName="signalbox")
        iam.put_user_policy(
            UserName="signalbox", PolicyName="all", PolicyDocument=json.dumps(ANYTHING)
        )
        made = iam.create_access_key(UserName="signalbox")["AccessKey"]
        self.key, self.secret = made["AccessKeyId"], made["SecretAccessKey"]
        self.client = self._client("s3", self.key, self.secret)
        self.client.create_bucket(Bucket=BUCKET)
        asked = urllib.request.Request(  # noqa: S310 - of our own server
            f"{self.url}/moto-api/reset-auth",
            data=b"0",
            headers={"Content-Type": "text/plain"},
            method="POST",
        )
        urllib.request.urlopen(asked).close()  # noqa: S310 - likewise

    def _client(self, name: str, key: str, secret: str) -> Any:
        return boto3.client(
            name,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def names(self) -> list[str]:
        """Return the names of what is in the bucket."""
        listed = self.client.list_objects_v2(Bucket=BUCKET)
        return [one["Key"] for one in listed.get("Contents", ())]

    def content(self, name: str) -> bytes:
        """Return what is kept under a name."""
        found: bytes = self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return found

    def requests(self) -> list[str]:
        """Return what it was asked so far: methods and addresses."""
        lines = self._log.read_text().splitlines()
        return [line.split('"')[1] for line in lines if line.count('"') > 1]

    def freeze(self) -> None:
        """Take connections and answer nothing."""
        assert self._process
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Answer again."""
        assert self._process
        os.kill(self._process.pid, signal.SIGCONT)
