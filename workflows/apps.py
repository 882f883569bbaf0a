"""Django application configuration."""

from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate, pre_migrate


class WorkflowsConfig(AppConfig):
    """Configuration of the app."""

    name = "workflows"
    verbose_name = "Workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Discover workflows, connect signals and register background work."""
        from workflows import bulk  # noqa: PLC0415 - needs loaded apps
        from workflows.access import signals  # noqa: PLC0415 - needs loaded apps
        from workflows.alerts import evaluation  # noqa: PLC0415 - likewise
        from workflows.audit import sealing_start  # noqa: PLC0415 - likewise
        from workflows.deliveries import daily_mail, recipients, retention  # noqa: PLC0415 - likewise
        from workflows.documents.storage import check_storage  # noqa: PLC0415 - likewise
        from workflows.execution import background_tasks  # noqa: PLC0415 - likewise
        from workflows.outbox import triggers  # noqa: PLC0415 - likewise
        from workflows.pages.accounts import sign_in_events  # noqa: PLC0415 - likewise
        from workflows.pages.lists import json_matching  # noqa: PLC0415 - likewise
        from workflows.pages.lists.view_matching import is_in_view  # noqa: PLC0415 - likewise
        from workflows.registry import registry  # noqa: PLC0415 - likewise
        from workflows.retention import periodic_purge  # noqa: PLC0415 - likewise
        from workflows.schedules import due_moments  # noqa: PLC0415 - likewise

        registry.discover()
        checks.register(check_storage)
        signals.listen()
        sign_in_events.listen()
        json_matching.register_function()
        background_tasks.add(bulk.continue_jobs)
        background_tasks.add(periodic_purge.purge_if_due)
        background_tasks.add(due_moments.launch_due)
        background_tasks.add(retention.purge_if_due)
        background_tasks.add(daily_mail.send_if_due)
        background_tasks.add(evaluation.evaluate_if_due)
        recipients.match_views_with(is_in_view)
        pre_migrate.connect(triggers.drop, sender=self)
        post_migrate.connect(triggers.install, sender=self)
        post_migrate.connect(sealing_start.remember, sender=self)
