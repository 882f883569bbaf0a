"""Generated sample documents for trying the workflows."""

from workflows.samples.documents import Sample, samples

__all__ = ["Sample", "samples"]
