"""Forms of API tokens and service accounts."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.utils import timezone

from workflows.access import permissions
from workflows.models import ServiceAccount, TokenScope
from workflows.models.tokens import MAX_TOKEN_NAME_LENGTH
from workflows.pages.catalog import title_of
from workflows.system import system

NEVER = ""
LIFETIMES = [
    ("7", "7 days"),
    ("30", "30 days"),
    ("90", "90 days"),
    ("365", "1 year"),
    (NEVER, "No expiry"),
]


def owners_for(user: User) -> list[User]:
    """Return the accounts for which a person may create tokens: themselves first."""
    if not permissions.can_give_roles(user):
        return [user]
    accounts = ServiceAccount.objects.select_related("user").filter(
        user__is_active=True
    )
    return [user, *(account.user for account in accounts)]


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(
        max_length=MAX_TOKEN_NAME_LENGTH,
        help_text="Where it is used, such as “nightly import”.",
    )
    owner = forms.TypedChoiceField(
        coerce=int, help_text="Requests with the token act as this account."
    )
    scopes = forms.MultipleChoiceField(
        choices=TokenScope.choices,
        initial=[TokenScope.READ],
        widget=forms.CheckboxSelectMultiple,
        help_text="Every token sees runs with their steps and times. It never permits more"
        " than its owner may do.",
    )
    workflows = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None selected: all workflows, also later ones.",
    )
    lifetime = forms.ChoiceField(
        label="Expires after", choices=LIFETIMES, initial="90", required=False
    )

    def __init__(self, *args: Any, by: User, **kwargs: Any) -> None:
        """Offer the owners and workflows of the person who creates the token."""
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.owners = owners_for(by)
        fields: dict[str, Any] = dict(self.fields)
        fields["owner"].choices = [(one.pk, one.get_username()) for one in self.owners]
        if len(self.owners) == 1:
            fields["owner"].initial = by.pk
            fields["owner"].widget = forms.HiddenInput()
        names = [one.name for one in system.list_workflows(by=by)]
        fields["workflows"].choices = [(name, title_of(name)) for name in names]

    @property
    def owner_account(self) -> User:
        """The account that was chosen, of a valid form."""
        return next(one for one in self.owners if one.pk == self.cleaned_data["owner"])

    @property
    def expires_at(self) -> dt.datetime | None:
        """When the token expires, of a valid form; None for never."""
        days = self.cleaned_data["lifetime"]
        return timezone.now() + dt.timedelta(days=int(days)) if days else None


class ServiceAccountForm(forms.Form):
    """A new service account."""

    name = forms.CharField(
        max_length=150,
        help_text="A user name, such as “ci”. No one can sign in with it.",
    )
    description = forms.CharField(
        max_length=200, required=False, help_text="The program that uses it."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Omit colons after labels."""
        super().__init__(*args, **{"label_suffix": "", **kwargs})
