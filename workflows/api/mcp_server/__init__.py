"""A server of the Model Context Protocol: tools with which language models use the API.

Everything but this module needs the packages of an extra.
"""

from typing import Final

PATH: Final = "/mcp"
