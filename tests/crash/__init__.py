"""Tests with killed processes: accepted runs are not lost, recorded steps not repeated."""
