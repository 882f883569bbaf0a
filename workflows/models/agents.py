"""Language models we may ask: who serves them, under which name, at which price."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.infra import encryption
from workflows.models.runs import Run, new_run_id

NAME = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9 ._-]*\Z",
    "Begin with a letter or a digit; use letters, digits, spaces, dots, - and _.",
)


class Kind(models.TextChoices):
    """How a provider is spoken to; all of them speak OpenAI's language."""

    OPENAI = "openai", "OpenAI style"
    OLLAMA = "ollama", "Ollama"
    AZURE = "azure", "Azure OpenAI"


class Capability(models.TextChoices):
    """What an agent can be asked for."""

    CHAT = "chat", "Chat"
    VISION = "vision", "Look at images"
    TOOLS = "tools", "Call functions"
    EMBED = "embed", "Embed texts"


def chat_only() -> list[str]:
    """Return the capabilities of an agent nobody has described further."""
    return [Capability.CHAT.value]


class Provider(models.Model):
    """A service that runs models. Its key is written, used, and never shown again."""

    name = models.CharField(max_length=60, unique=True, validators=[NAME])
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.OPENAI)
    base_url = models.CharField(max_length=300)  # also of hosts without a dot
    api_version = models.CharField(max_length=40, blank=True, default="")  # Azure's
    key = models.BinaryField(null=True, editable=False)  # encrypted
    timeout_seconds = models.FloatField(  # of one try; of one piece of a stream
        default=120, validators=[MinValueValidator(0.1)]
    )
    tries = models.PositiveSmallIntegerField(  # in all, where another may help
        default=4, validators=[MinValueValidator(1)]
    )
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(kind__in=Kind.values), name="provider_kind_known"
            )
        ]

    def __str__(self) -> str:
        """Return its name."""
        return self.name

    @property
    def has_key(self) -> bool:
        """Tell whether a key is stored."""
        return self.key is not None

    def keep_key(self, key: str) -> None:
        """Take another key, "" for none; it is encrypted here and now."""
        self.key = encryption.encrypt({"key": key}) if key else None

    def open_key(self) -> str:
        """Return the key for a call, "" if none is stored.

        Raises cryptography.fernet.InvalidToken when no secret key opens it.
        """
        return encryption.decrypt(self.key).get("key", "")


class Agent(models.Model):
    """A model under a name that workflows use, and how it is asked."""

    name = models.CharField(max_length=60, unique=True, validators=[NAME])
    provider = models.ForeignKey(
        Provider, on_delete=models.PROTECT, related_name="agents"
    )
    model = models.CharField(max_length=120)  # as its provider calls it
    system_prompt = models.TextField(blank=True, default="")
    options = models.JSONField(blank=True, default=dict)  # of every call
    capabilities = models.JSONField(default=chat_only)
    is_default = models.BooleanField(default=False)  # asked where none is named
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=Q(is_default=True),
                name="agent_one_default",
            )
        ]

    def __str__(self) -> str:
        """Return its name."""
        return self.name


class Price(models.Model):
    """What a model costs, in the currency of this installation."""

    model = models.CharField(max_length=120, unique=True)
    per_million_in = models.DecimalField(  # tokens of the question
        max_digits=12, decimal_places=6, validators=[MinValueValidator(0)]
    )
    per_million_out = models.DecimalField(  # tokens of the answer
        max_digits=12, decimal_places=6, validators=[MinValueValidator(0)]
    )

    class Meta:
        ordering: ClassVar = ["model"]

    def __str__(self) -> str:
        """Return the model it is of."""
        return self.model


class CallStatus(models.TextChoices):
    """How a call ended."""

    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"  # the run was, or the node read no further


class AgentCall(models.Model):
    """One question to an agent: what it took, not what was said."""

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    # The stage it belongs to, by run, attempt and sequence. What was spent stays spent
    # when the run is deleted; a call without a run was tried out by a person.
    run = models.ForeignKey(
        Run, null=True, on_delete=models.SET_NULL, related_name="agent_calls"
    )
    attempt = models.PositiveIntegerField(default=0)
    sequence = models.PositiveIntegerField(default=0)
    item = models.PositiveIntegerField(null=True)  # of a parallel node
    workflow_name = models.CharField(max_length=100, blank=True, default="")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    kind = models.CharField(max_length=12)  # chat, chat_stream, vision, tools, …
    agent_name = models.CharField(max_length=60)
    provider_name = models.CharField(max_length=60)
    model = models.CharField(max_length=120)
    tokens_in = models.PositiveIntegerField(default=0)
    tokens_out = models.PositiveIntegerField(default=0)
    is_estimated = models.BooleanField(default=False)  # the provider did not count
    cost = models.DecimalField(  # null: the model has no price
        max_digits=18, decimal_places=9, null=True
    )
    latency_ms = models.FloatField()  # all tries together, with their pauses
    tries = models.PositiveSmallIntegerField(default=1)
    status = models.CharField(max_length=10, choices=CallStatus.choices)
    error_code = models.CharField(max_length=60, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)  # when it was asked

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=CallStatus.values), name="call_status_known"
            )
        ]
        indexes: ClassVar = [
            # the stages of a run, each with its sum
            models.Index(fields=["run", "attempt", "sequence"], name="call_by_stage"),
            # budgets and reports: what a workflow, or everybody, spent since
            models.Index(fields=["workflow_name", "created_at"], name="call_by_flow"),
            models.Index(fields=["created_at"], name="call_by_time"),
        ]

    def __str__(self) -> str:
        """Return what was asked of whom."""
        return f"{self.kind} {self.agent_name}"


class LiveText(models.Model):
    """What an agent has answered so far, while it still answers; gone when it ends."""

    id = models.UUIDField(primary_key=True, editable=False)  # of the call
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="live_texts")
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()
    agent_name = models.CharField(max_length=60)
    text = models.TextField(blank=True, default="")
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        """Return whose words they are."""
        return f"{self.agent_name}: {self.text[:40]}"
