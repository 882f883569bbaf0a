"""A soak test: constant load for an hour, with limits on what may grow meanwhile."""
