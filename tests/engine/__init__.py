"""Tests of the engine, which need no Django."""
