"""Invalid and hostile input values: texts, numbers and JSON."""

from __future__ import annotations

from hypothesis import strategies as st

DEEP = 1_000  # levels
LONG = 10_000_000  # characters

TEXTS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "a\udfffb",
    "\u202e\u2066",
    "\r\nX-Other: 1",
    "\ufeff\u0000",
    "🙂" * 500,
    "a" * 20_000,
    "'; DROP TABLE workflows_run; --",
    "%00%ff%ED%A0%80",
    "../../etc/passwd",
    "a/b",
)
NUMBERS = (
    "-1",
    "0",
    "1e999",
    "-0",
    "NaN",
    "Infinity",
    "-Infinity",
    "9" * 18,
    "9" * 19,
    "9" * 5_000,
    str(2**31),
    str(2**63),
    str(-(2**63) - 1),
    "0x10",
    "1_000",
    "²",
    "١٢",
    "1.5",
)
PLAIN_TEXTS = (
    "true",
    "null",
    "[]",
    "{}",
    '{"a": 1, "a": 2}',
    '{"__proto__": {"a": 1}}',
    '{"a": NaN}',
    '{"a": 1e400}',
    '"\\ud800"',
    '{"\\u0000": "\\u0000"}',
    "[" * DEEP + "]" * DEEP,
    '{"a":' * DEEP + "1" + "}" * DEEP,
    "[" * 100_000,
    "9" * 5_000,
    "not-a-uuid",
    "00000000-0000-0000-0000-00000000000g",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "{00000000-0000-0000-0000-000000000000}",
    "2026-02-30",
    "0000-00-00",
    "0001-01-01",
    "9999-12-31",
    "10000-01-01",
    "2026-01-01T25:61",
    "weigh.-1",
    "weigh.99999999999999999999",
    "a=b=c",
    "params.a = 1 and params.b =",
    "params." + ".".join("a" * 50) + " = 1",
    "params.a\x00b = \x00",
    "params.'\" = 1",
    "params.a%s = %s",
    "result.0.$.* = [1]",
)
BAD = (*TEXTS, *NUMBERS, *PLAIN_TEXTS)

texts = st.one_of(st.sampled_from(BAD), st.text(max_size=40))
"""A bad value, or an arbitrary text."""
