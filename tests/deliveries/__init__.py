"""Tests of the outbox, of webhook destinations and of deliveries."""
