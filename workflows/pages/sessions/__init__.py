"""Expired sessions: unsaved form input is kept until the next sign-in."""
