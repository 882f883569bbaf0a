"""Tests of alert rules: values, limits, and what people do with them."""
