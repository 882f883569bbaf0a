"""Real processes, killed: what was accepted is never lost, what was recorded never repeated."""
