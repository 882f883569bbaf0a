"""Messages of events and the waits for them; a form sends a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.utils.safestring import SafeString

from workflows.admin.read_only import ReadOnlyAdmin, WorkflowFilter, as_json, run_link
from workflows.engine.errors import InputInvalid, RequestError
from workflows.models import EventMessage, EventWait
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpRequest


class MessageForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """A message to send: offers the events that this person may send."""

    request: HttpRequest

    name = forms.ChoiceField(label="Event")
    workflow_name = forms.ChoiceField(
        label="Workflow",
        required=False,
        help_text="Empty: all that wait for the event.",
    )
    key = forms.CharField(required=False, max_length=200, strip=False)
    value = forms.JSONField(
        initial=dict, help_text="The fields of the value, as a JSON object."
    )

    class Meta:
        model = EventMessage
        fields = ("name", "workflow_name", "key", "value")

    def __init__(self, *args: Any, **options: Any) -> None:
        """Set the choices."""
        super().__init__(*args, **options)
        found = system.list_events(by=self.request.user)
        workflows = sorted({name for nodes in found.values() for name in nodes})
        choices: Any = self.fields
        choices["name"].choices = [(name, name) for name in found]
        choices["workflow_name"].choices = [("", "All"), *((n, n) for n in workflows)]

    def clean(self) -> dict[str, Any]:
        """Check the message as `System.send` does."""
        given = super().clean() or {}
        if self.errors:
            return given
        if not isinstance(given["value"], dict):
            self.add_error("value", "Enter a JSON object.")
            return given
        try:
            user: Any = self.request.user  # signed in
            system.check_event(**self.message(given), by=user)
        except InputInvalid as error:
            texts = [
                f"{name}: {' '.join(m)}".lstrip(": ")
                for name, m in error.errors.items()
            ]
            self.add_error("value", texts)
        except RequestError as error:
            self.add_error(None, str(error))
        return given

    @staticmethod
    def message(given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of `System.send`."""
        return {
            "name": given["name"],
            "key": given["key"],
            "value": given["value"],
            "workflow": given["workflow_name"],
        }

    def _get_validation_exclusions(self) -> set[str]:
        """Exclude all fields from validation: `System.send` makes the row."""
        return {field.name for field in EventMessage._meta.fields}  # noqa: SLF001 - Django's documented model API


@admin.register(EventMessage)
class EventMessageAdmin(ReadOnlyAdmin):
    """Messages; one is added by sending it."""

    workflow = "workflow_name"

    form = MessageForm
    list_display = (
        "short_id",
        "name",
        "key",
        "workflow_name",
        "sender_name",
        "created_at",
        "delivered_at",
    )
    list_filter = (WorkflowFilter, "delivered_at")
    search_fields = ("name", "key", "sender_name", "=id")
    ordering = ("-id",)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Return whether this person may send any event."""
        return bool(system.list_events(by=request.user))

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Return the form, with the request of which it needs the user."""
        form = super().get_form(request, *args, **options)
        return type("RequestForm", (form,), {"request": request})

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ARG002
        """Return what is to be entered, or what is stored."""
        if obj is None:
            return MessageForm.Meta.fields
        return (
            *("name", "workflow_name", "key", "value_shown", "sender_name", "address"),
            *("idempotency_key", "created_at", "delivered_at"),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ARG002
        """Return the computed field of a stored message."""
        return () if obj is None else ("value_shown",)

    @admin.display(description="Value")
    def value_shown(self, message: EventMessage) -> SafeString:
        """Return the value, indented."""
        return as_json(message.value)

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: Any,
        change: Any,  # noqa: ARG002
    ) -> None:
        """Send the message; `obj` becomes the row of the first workflow."""
        given = form.message(form.cleaned_data)
        user: Any = request.user  # signed in
        sent = system.send(**given, by=user)
        obj.__dict__.update(sent[0].message.__dict__)
        runs = sum(len(one.runs) for one in sent)
        moved = f"It moved {runs} run{'' if runs == 1 else 's'}."
        self.message_user(
            request, moved if runs else "No run waits for it: it is kept."
        )


@admin.register(EventWait)
class EventWaitAdmin(ReadOnlyAdmin):
    """What runs wait and waited for."""

    workflow = "workflow_name"

    list_display = ("name", "key", "run_shown", "node_name", "status", "created_at")
    list_filter = (WorkflowFilter, "kind", "status")
    list_select_related = ("run",)
    search_fields = ("name", "key", "=run__id")
    ordering = ("-id",)
    readonly_fields = ("run_shown",)
    exclude = ("run",)

    @admin.display(description="Run")
    def run_shown(self, wait: EventWait) -> SafeString | str:
        """Return a link to the page of the run."""
        return run_link(wait.run)
