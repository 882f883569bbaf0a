"""Live updates of pages over websockets."""
