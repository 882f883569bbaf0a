"""Settings of the history: the keys that seal it, and its retention."""

from __future__ import annotations

from typing import Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from project.comma_separated import Keys

MIN_KEY_LENGTH: Final = 50  # characters; required by `check --deploy`


class RetentionSettings(BaseSettings):
    """Settings of audit keys and retention."""

    audit_keys: Keys = Field(
        (),
        description="Secrets that seal the history, at least 50 characters each, the "
        "newest first: the first one seals, all of them verify. Default: SECRET_KEY.",
    )

    retention_enabled: bool = Field(
        True,
        description="Workers purge data by the retention rules, one worker at a time, "
        "each hour. Off: only `manage.py prune` does.",
    )

    webhook_delivery_days: int = Field(
        30,
        ge=1,
        le=3_650,
        description="Days after which deliveries to incoming webhooks are deleted; earlier "
        "if a retention rule deletes the data of the workflow's runs earlier.",
    )

    approval_claim_hours: float = Field(
        8,
        gt=0,
        le=8_760,
        description="Hours after which the claim of an approval ends, if its person has "
        "neither responded nor released it.",
    )
    event_keep_days: int = Field(
        30,
        ge=1,
        le=3_650,
        description="Days for which a message of an event is kept until a run waits for it, "
        "and after which messages are deleted.",
    )

    @field_validator("audit_keys")
    @classmethod
    def _long_enough(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < MIN_KEY_LENGTH for key in value):
            raise ValueError(f"must have at least {MIN_KEY_LENGTH} characters each")
        return value
