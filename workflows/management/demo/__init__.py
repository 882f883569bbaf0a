"""A week of demo data: real runs, executed by a worker and then moved into the past."""
