"""Uploaded documents: storage, text, page images and their readers."""
