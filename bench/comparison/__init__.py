"""`python -m bench --beside DIR`: our workloads beside other systems, as tables in Markdown."""
