"""Incoming webhooks: other systems launch a workflow with a signed request.

signatures.py   the styles of signatures, and secrets
mapping.py      from payload and headers to params; filters
service.py      what people do: create, change, rotate the secret, replay, delete
receiving.py    one delivery: verification, deduplication, launch
"""
