"""Document pages: viewer, downloads and evidence."""
