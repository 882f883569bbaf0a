"""The rows: runs and their history, approvals, documents, agents, operations."""

from workflows.models.agents import (
    Agent,
    AgentCall,
    CallReplay,
    CallStatus,
    Capability,
    Kind,
    LiveText,
    Price,
    Provider,
)
from workflows.models.alerts import AlertIncident, AlertMetric, AlertRule
from workflows.models.approval_handling import (
    ApprovalAssignment,
    ApprovalClaim,
    ApprovalEscalation,
    ApprovalReminder,
    ApprovalSnooze,
)
from workflows.models.approvals import Approval, ApprovalVote
from workflows.models.assessments import WHOLE_RUN, Assessment
from workflows.models.bulk_operations import BulkItem, BulkJob, ItemResult
from workflows.models.call_contents import CallContent
from workflows.models.child_groups import ChildGroup, ChildItem, ItemStatus
from workflows.models.current_stages import (
    ACTIVE_STATUSES,
    add_current,
    current_stage,
    running_stage,
    stored_stage,
    with_current,
)
from workflows.models.demo import DemoData
from workflows.models.destinations import (
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    Destination,
    DestinationKind,
    DestinationState,
)
from workflows.models.documents import Document, DocumentUse, PageImage
from workflows.models.events import EventMessage, EventWait
from workflows.models.first_run import AccessMode, DefaultAccess, FirstStepsHidden
from workflows.models.forks import EDIT_NODE, Fork, ForkKind, SharedChild
from workflows.models.golden_runs import (
    AnswerSource,
    GoldenOutcome,
    GoldenResult,
    GoldenRun,
)
from workflows.models.history import (
    PROCESS_DIED,
    SUSPICION_LIFTED,
    Attempt,
    Checkpoint,
    Decision,
    DecisionKind,
    ItemFailure,
    LogLine,
    Outcome,
    Stage,
    StageItem,
)
from workflows.models.invitations import Invitation
from workflows.models.labels import RunLabel, SavedView
from workflows.models.limits import LimitCheck, LimitStart
from workflows.models.operations import (
    AuditEvent,
    HistoryHead,
    Note,
    RemovedRun,
    Worker,
)
from workflows.models.outbox import EventKind, Interest, OutboxEvent
from workflows.models.pauses import WorkflowPause
from workflows.models.permissions import WorkflowPermission
from workflows.models.profiles import (
    PERSONAL,
    Budget,
    BudgetRaise,
    Profile,
    Scope,
)
from workflows.models.retention import Retention
from workflows.models.retries import Retry
from workflows.models.run_files import RunFile
from workflows.models.run_links import LinkKind, RunLink
from workflows.models.runs import Run
from workflows.models.schedules import (
    CatchUp,
    MomentResult,
    Overlap,
    Schedule,
    ScheduleMoment,
)
from workflows.models.status import (
    CANCELLABLE,
    ENDED,
    RESUMABLE,
    ApprovalKind,
    ApprovalStatus,
    EventWaitKind,
    EventWaitStatus,
    Level,
    StageKind,
    StageStatus,
    Status,
    Suspicion,
    WaitKind,
)
from workflows.models.subscriptions import (
    Chat,
    Followed,
    Mail,
    Notification,
    Subscription,
)
from workflows.models.tallies import EdgeTally, RunTally, Tally
from workflows.models.tokens import ApiToken, ServiceAccount, TokenScope
from workflows.models.variables import Variable
from workflows.models.webhooks import (
    Deduplication,
    VerificationStyle,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookOutcome,
)

__all__ = [
    "ACTIVE_STATUSES",
    "CANCELLABLE",
    "EDIT_NODE",
    "ENDED",
    "PERSONAL",
    "PROCESS_DIED",
    "RESUMABLE",
    "SUSPICION_LIFTED",
    "WHOLE_RUN",
    "AccessMode",
    "Agent",
    "AgentCall",
    "AlertIncident",
    "AlertMetric",
    "AlertRule",
    "AnswerSource",
    "ApiToken",
    "Approval",
    "ApprovalAssignment",
    "ApprovalClaim",
    "ApprovalEscalation",
    "ApprovalKind",
    "ApprovalReminder",
    "ApprovalSnooze",
    "ApprovalStatus",
    "ApprovalVote",
    "Assessment",
    "Attempt",
    "AuditEvent",
    "Budget",
    "BudgetRaise",
    "BulkItem",
    "BulkJob",
    "CallContent",
    "CallReplay",
    "CallStatus",
    "Capability",
    "CatchUp",
    "Chat",
    "Checkpoint",
    "ChildGroup",
    "ChildItem",
    "Decision",
    "DecisionKind",
    "Deduplication",
    "DefaultAccess",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryStatus",
    "DemoData",
    "Destination",
    "DestinationKind",
    "DestinationState",
    "Document",
    "DocumentUse",
    "EdgeTally",
    "EventKind",
    "EventMessage",
    "EventWait",
    "EventWaitKind",
    "EventWaitStatus",
    "FirstStepsHidden",
    "Followed",
    "Fork",
    "ForkKind",
    "GoldenOutcome",
    "GoldenResult",
    "GoldenRun",
    "HistoryHead",
    "Interest",
    "Invitation",
    "ItemFailure",
    "ItemResult",
    "ItemStatus",
    "Kind",
    "Level",
    "LimitCheck",
    "LimitStart",
    "LinkKind",
    "LiveText",
    "LogLine",
    "Mail",
    "MomentResult",
    "Note",
    "Notification",
    "OutboxEvent",
    "Outcome",
    "Overlap",
    "PageImage",
    "Price",
    "Profile",
    "Provider",
    "RemovedRun",
    "Retention",
    "Retry",
    "Run",
    "RunFile",
    "RunLabel",
    "RunLink",
    "RunTally",
    "SavedView",
    "Schedule",
    "ScheduleMoment",
    "Scope",
    "ServiceAccount",
    "SharedChild",
    "Stage",
    "StageItem",
    "StageKind",
    "StageStatus",
    "Status",
    "Subscription",
    "Suspicion",
    "Tally",
    "TokenScope",
    "Variable",
    "VerificationStyle",
    "WaitKind",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookOutcome",
    "Worker",
    "WorkflowPause",
    "WorkflowPermission",
    "add_current",
    "current_stage",
    "running_stage",
    "stored_stage",
    "with_current",
]
