"""A server with the S3 protocol in a separate process (moto).

It checks keys and signatures. It can be frozen, so that it accepts connections and never
responds, or stopped, so that connections are refused.
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
    """A server with a bucket and a user."""

    def __init__(self, directory: Path) -> None:
        """Write the log to a directory."""
        self._log = directory / "s3.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key, self.secret = "", ""

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-p", str(self.port)],
                stdout=log,
                stderr=log,
            )
        try:
            wait_for_port(self.port)
            self._create_user()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def _create_user(self) -> None:
        """Create a bucket and a user, and enable authentication."""
        iam = self._client("iam", "nobody", "nothing")
        iam.create_user(UserName="signalbox")
        iam.put_user_policy(
            UserName="signalbox", PolicyName="all", PolicyDocument=json.dumps(ANYTHING)
        )
        access_key = iam.create_access_key(UserName="signalbox")["AccessKey"]
        self.key, self.secret = access_key["AccessKeyId"], access_key["SecretAccessKey"]
        self.client = self._client("s3", self.key, self.secret)
        self.client.create_bucket(Bucket=BUCKET)
        request = urllib.request.Request(  # noqa: S310 - a local server
            f"{self.url}/moto-api/reset-auth",
            data=b"0",
            headers={"Content-Type": "text/plain"},
            method="POST",
        )
        urllib.request.urlopen(request).close()  # noqa: S310 - a local server

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
        """Return the names of the objects in the bucket."""
        listed = self.client.list_objects_v2(Bucket=BUCKET)
        return [one["Key"] for one in listed.get("Contents", ())]

    def content(self, name: str) -> bytes:
        """Return the content of an object."""
        found: bytes = self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return found

    def requests(self) -> list[str]:
        """Return method and path of all requests so far."""
        lines = self._log.read_text().splitlines()
        return [line.split('"')[1] for line in lines if line.count('"') > 1]

    def freeze(self) -> None:
        """Accept connections and send no responses."""
        assert self._process
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Send responses again."""
        assert self._process
        os.kill(self._process.pid, signal.SIGCONT)
