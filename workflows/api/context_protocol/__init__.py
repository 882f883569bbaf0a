"""A server of the Model Context Protocol: tools with which language models use the API."""
