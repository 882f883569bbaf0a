"""Form of the chat that a person's notifications are sent to."""

from __future__ import annotations

from django import forms

from workflows.deliveries.personal_chat import EXAMPLE
from workflows.deliveries.service import MAX_URL_LENGTH


class ChatForm(forms.Form):
    """The address of a chat."""

    address = forms.CharField(
        max_length=MAX_URL_LENGTH,
        widget=forms.TextInput(
            attrs={"placeholder": EXAMPLE, "spellcheck": "false", "autocomplete": "off"}
        ),
        help_text="In the form of Apprise: slack://…, workflows://… (Teams), discord://…,"
        " tgram://…, jsons://… and others. It is stored encrypted and shown without its"
        " secrets.",
    )
