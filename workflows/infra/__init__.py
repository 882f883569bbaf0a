"""Infrastructure: database threads, outages, clock, notifications, encryption, metrics."""
