"""Permissions: who may see and do what, by workflow, role and group."""
