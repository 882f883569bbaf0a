"""The REST API under /api/v1/: routes, authentication, errors and paging.

Routes call System and the query helpers of the pages, so that permissions, checks and
messages are the same on every path.
"""
