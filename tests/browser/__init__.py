"""A real browser on a real server: what people see and do."""
