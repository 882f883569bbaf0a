"""What a workflow may reach while it runs, as Protocols, with fakes for its tests.

Importing this package imports no Django; the real documents and images are in modules
of their own.
"""

from workflows.runtime.agents import NoAgents
from workflows.runtime.errors import (
    Duplicate,
    Invalid,
    NotFound,
    ProviderError,
    Unavailable,
    Unsupported,
    UpstreamFailed,
)
from workflows.runtime.fakes import (
    AgentCall,
    FakeAgents,
    FakeDocuments,
    FakeImages,
    FakeLogger,
    FakeProfiles,
    FakeRuntime,
    LogEntry,
    page_of,
)
from workflows.runtime.profiles import NoProfiles
from workflows.runtime.protocols import (
    AgentRef,
    Agents,
    DocumentRef,
    Documents,
    Images,
    Logger,
    NodeContext,
    Profiles,
    Reference,
    Runtime,
)
from workflows.runtime.records import (
    Box,
    DocumentInfo,
    ImageInfo,
    Line,
    Message,
    Page,
    Prompt,
    Reply,
    StageProfile,
    Tool,
    ToolCall,
    Word,
)
from workflows.runtime.renderings import SCREEN, RenderOptions

__all__ = [
    "SCREEN",
    "AgentCall",
    "AgentRef",
    "Agents",
    "Box",
    "DocumentInfo",
    "DocumentRef",
    "Documents",
    "Duplicate",
    "FakeAgents",
    "FakeDocuments",
    "FakeImages",
    "FakeLogger",
    "FakeProfiles",
    "FakeRuntime",
    "ImageInfo",
    "Images",
    "Invalid",
    "Line",
    "LogEntry",
    "Logger",
    "Message",
    "NoAgents",
    "NoProfiles",
    "NodeContext",
    "NotFound",
    "Page",
    "Profiles",
    "Prompt",
    "ProviderError",
    "Reference",
    "RenderOptions",
    "Reply",
    "Runtime",
    "StageProfile",
    "Tool",
    "ToolCall",
    "Unavailable",
    "Unsupported",
    "UpstreamFailed",
    "Word",
    "page_of",
]
