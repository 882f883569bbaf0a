"""The API key of one run, and where it may be sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from workflows.infra import encryption
from workflows.models import Provider


@dataclass(frozen=True, slots=True)
class RunKey:
    """A key that replaces those of providers in one run.

    It may be sent to the addresses that providers had when it was entered: a provider that
    gets another address afterwards does not get the key.
    """

    key: str = field(repr=False, default="")
    origins: frozenset[str] | None = None  # None: any, for a run of an earlier release

    @classmethod
    def entered(cls, key: str) -> RunKey:
        """Return a key that someone has just entered."""
        if not key:
            return cls()
        providers = Provider.objects.filter(is_enabled=True)
        return cls(key, frozenset(provider.origin for provider in providers))

    @classmethod
    def decrypted(cls, secrets: bytes | memoryview | None) -> RunKey:
        """Return the key stored in a run.

        Raises cryptography.fernet.InvalidToken if no secret key decrypts it.
        """
        values = encryption.decrypt(secrets)
        origins = values.get("origins")
        allowed = None if origins is None else frozenset(origins.split())
        return cls(values.get("token", ""), allowed)

    def encrypted(self) -> bytes | None:
        """Return the key as stored in a run, None without one."""
        if not self.key:
            return None
        origins = " ".join(sorted(self.origins or ()))
        return encryption.encrypt({"token": self.key, "origins": origins})

    def can_be_sent_to(self, origin: str) -> bool:
        """Return whether a provider at this origin may get the key."""
        return self.origins is None or origin in self.origins


NO_KEY = RunKey()
