"""Alert rules: limits for values of workflows, raised and cleared once.

metrics.py     the present value of a rule
evaluation.py  compares values with limits, by one process at a time
service.py     what people do: create, change and delete rules
"""
