"""An app with the workflows that `bench.live` and `bench.apart` watch."""
