"""Language models: providers, agents, prices and calls."""

from __future__ import annotations

from typing import Any, ClassVar

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.infra import encryption
from workflows.infra.addresses import origin_of
from workflows.models.runs import Run, new_run_id

NAME = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9 ._-]*\Z",
    "Begin with a letter or a digit; use letters, digits, spaces, dots, - and _.",
)


class Kind(models.TextChoices):
    """API of a provider; all are variants of the OpenAI API."""

    OPENAI = "openai", "OpenAI-compatible"
    OLLAMA = "ollama", "Ollama"
    AZURE = "azure", "Azure OpenAI"


class Capability(models.TextChoices):
    """Capability of an agent."""

    CHAT = "chat", "Chat"
    VISION = "vision", "Vision"
    TOOLS = "tools", "Tool calling"
    EMBED = "embed", "Embeddings"


def chat_only() -> list[str]:
    """Return the default capabilities of an agent."""
    return [Capability.CHAT.value]


class KeyOfOtherOrigin(Exception):
    """The stored key was entered for another scheme, host or port."""


class Provider(models.Model):
    """A service that runs models. Its API key is write-only: encrypted, never shown.

    A key belongs to the origin (scheme, host and port) of the base URL that it was entered
    for, which is encrypted with it: a change of the row, by whatever means, does not
    send the key to another host.
    """

    name = models.CharField(max_length=60, unique=True, validators=[NAME])
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.OPENAI)
    base_url = models.CharField(
        max_length=300
    )  # also hosts without a dot, so no URLField
    api_version = models.CharField(max_length=40, blank=True, default="")  # Azure's
    key = models.BinaryField(null=True, editable=False)  # encrypted
    timeout_seconds = models.FloatField(  # per try; per chunk of a stream
        default=120, validators=[MinValueValidator(0.1)]
    )
    tries = models.PositiveSmallIntegerField(  # maximum, including the first
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
        """Return the name."""
        return self.name

    def save(self, *args: Any, **options: Any) -> None:
        """Save the row; a key of another origin is dropped."""
        if self._has_key_of_other_origin():
            self.key = None
            if (fields := options.get("update_fields")) is not None:
                options["update_fields"] = {*fields, "key"}
        super().save(*args, **options)

    @property
    def has_key(self) -> bool:
        """Return whether a key is stored."""
        return self.key is not None

    @property
    def origin(self) -> str:
        """Scheme, host and port of the base URL."""
        return origin_of(self.base_url)

    def store_key(self, key: str) -> None:
        """Encrypt and set the key for the current base URL; "" removes it.

        Does not save.
        """
        values = {"key": key, "origin": self.origin}
        self.key = encryption.encrypt(values) if key else None

    def open_key(self) -> str:
        """Return the decrypted key, "" if none is stored.

        Raises cryptography.fernet.InvalidToken if no secret key decrypts it, and
        KeyOfOtherOrigin.
        """
        values = encryption.decrypt(self.key)
        if values and values.get("origin") != self.origin:
            raise KeyOfOtherOrigin
        return values.get("key", "")

    def _has_key_of_other_origin(self) -> bool:
        try:
            self.open_key()
        except KeyOfOtherOrigin:
            return True
        except InvalidToken:
            return False  # unknown; `open_key` checks once it can be decrypted
        return False


class Agent(models.Model):
    """A named model that workflows call, with its settings."""

    name = models.CharField(max_length=60, unique=True, validators=[NAME])
    provider = models.ForeignKey(
        Provider, on_delete=models.PROTECT, related_name="agents"
    )
    model = models.CharField(max_length=120)  # name at the provider
    system_prompt = models.TextField(blank=True, default="")
    options = models.JSONField(blank=True, default=dict)  # of every call
    capabilities = models.JSONField(default=chat_only)
    is_default = models.BooleanField(default=False)  # used if a workflow names none
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
        """Return the name."""
        return self.name


class Price(models.Model):
    """Price of a model, in the currency of the installation."""

    model = models.CharField(max_length=120, unique=True)
    per_million_in = models.DecimalField(  # input tokens
        max_digits=12, decimal_places=6, validators=[MinValueValidator(0)]
    )
    per_million_out = models.DecimalField(  # output tokens
        max_digits=12, decimal_places=6, validators=[MinValueValidator(0)]
    )

    class Meta:
        ordering: ClassVar = ["model"]

    def __str__(self) -> str:
        """Return the model."""
        return self.model


class CallStatus(models.TextChoices):
    """Outcome of a call."""

    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = (
        "cancelled",
        "Cancelled",
    )  # the run was, or the node stopped reading the stream


class CallReplay(models.TextChoices):
    """What came of a call in a run that replays recorded answers."""

    REPLAYED = "replayed", "Recorded answer"
    PROMPT_DIFFERS = "prompt", "Called again: the prompt differs from the recorded one"
    NOT_RECORDED = "missing", "Called again: no answer is recorded for this call"
    NOT_WHOLE = "cut", "Called again: the recorded answer is cut or masked"


class AgentCall(models.Model):
    """One call of an agent: tokens, cost and time. Its content is in CallContent, if kept."""

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    # Run, attempt and sequence identify the stage. The row is kept when the run is
    # deleted, since the cost remains; a call without a run is a person's trial.
    run = models.ForeignKey(
        Run, null=True, on_delete=models.SET_NULL, related_name="agent_calls"
    )
    attempt = models.PositiveIntegerField(default=0)
    sequence = models.PositiveIntegerField(default=0)
    item = models.PositiveIntegerField(null=True)  # of a parallel node
    workflow_name = models.CharField(max_length=100, blank=True, default="")
    person = models.ForeignKey(  # who tried an agent, or pays for the run (`payers.py`)
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    kind = models.CharField(max_length=12)  # chat, chat_stream, vision, tools, …
    agent_name = models.CharField(max_length=60)
    provider_name = models.CharField(max_length=60)
    model = models.CharField(max_length=120)
    tokens_in = models.PositiveIntegerField(default=0)
    tokens_out = models.PositiveIntegerField(default=0)
    is_estimated = models.BooleanField(default=False)  # the provider reported no usage
    cost = models.DecimalField(  # null: the model has no price
        max_digits=18, decimal_places=9, null=True
    )
    latency_ms = models.FloatField()  # all tries, including backoff
    tries = models.PositiveSmallIntegerField(default=1)
    status = models.CharField(max_length=10, choices=CallStatus.choices)
    error_code = models.CharField(max_length=60, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)  # start of the call
    replay = models.CharField(max_length=8, choices=CallReplay.choices, null=True)  # noqa: DJ001 - adding the column rebuilds no table
    replayed_from = models.UUIDField(null=True)  # the call whose answer was used

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=CallStatus.values), name="call_status_known"
            )
        ]
        indexes: ClassVar = [
            # sums per stage of a run
            models.Index(fields=["run", "attempt", "sequence"], name="call_by_stage"),
            # budgets and reports: spending since a date, by workflow or in total
            models.Index(fields=["workflow_name", "created_at"], name="call_by_flow"),
            models.Index(fields=["created_at"], name="call_by_time"),
            models.Index(fields=["person", "created_at"], name="call_by_person"),
        ]

    def __str__(self) -> str:
        """Return the kind of call and the agent."""
        return f"{self.kind} {self.agent_name}"


class LiveText(models.Model):
    """Partial response of a streaming call; deleted when the call ends."""

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
        """Return the agent and the start of the text."""
        return f"{self.agent_name}: {self.text[:40]}"
