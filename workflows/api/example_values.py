"""Ids and times that several examples of the OpenAPI document have."""

from __future__ import annotations

from typing import Final

RUN: Final = "01a22a39-d234-73d3-afc1-8e9ae7b59950"
CHILD: Final = "01a22a39-e6b0-7bb2-9a55-2f8f3c1d7e10"
DOCUMENT: Final = "01a22a37-1f40-7e1c-8a30-5f0b2f9f6c21"
FILE: Final = "01a22a39-f7c1-7d02-9c44-3b6a0f5e8d17"
JOB: Final = "01a22a40-77aa-7000-b1c2-0d5e6f7a8b9c"
T1, T2, T3 = (
    "2026-11-30T08:15:00Z",
    "2026-11-30T08:15:02.250Z",
    "2026-11-30T08:16:41Z",
)
WORKFLOW: Final = "sort-mail"
