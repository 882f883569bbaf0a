"""Drawing a workflow graph as SVG."""
