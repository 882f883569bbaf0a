"""The application as Django knows it."""

from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate


class WorkflowsConfig(AppConfig):
    """Runs, their pages and their admin."""

    name = "workflows"
    verbose_name = "Workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Find the workflows: ours, and those of every installed app."""
        from workflows import bulk, rights_news  # noqa: PLC0415 - needs loaded apps
        from workflows.execution import chores  # noqa: PLC0415 - likewise
        from workflows.history import beginning  # noqa: PLC0415 - likewise
        from workflows.pages import value_matching  # noqa: PLC0415 - likewise
        from workflows.registry import registry  # noqa: PLC0415 - likewise
        from workflows.runtime.storage import check_storage  # noqa: PLC0415 - likewise

        registry.discover()
        checks.register(check_storage)
        rights_news.listen()
        value_matching.listen()
        chores.add(bulk.go_on)
        post_migrate.connect(beginning.remember, sender=self)
