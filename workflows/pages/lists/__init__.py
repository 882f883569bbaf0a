"""Lists of runs, decisions, approvals and more: filters, columns, pagination."""
