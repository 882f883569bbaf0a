"""Sample documents, drawn by our own code: something to try the workflows on."""

from workflows.samples.documents import Sample, samples

__all__ = ["Sample", "samples"]
