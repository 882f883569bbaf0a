"""Health checks and metrics endpoints."""
