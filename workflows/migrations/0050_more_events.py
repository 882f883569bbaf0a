from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0049_plural_of_deliveries"),
    ]

    operations = [
        migrations.AlterField(
            model_name="outboxevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("run.completed", "Run completed"),
                    ("run.failed", "Run failed"),
                    ("run.cancelled", "Run cancelled"),
                    ("approval.requested", "Approval requested"),
                    ("approval.answered", "Approval answered"),
                    ("approval.expired", "Approval expired"),
                    ("schedule.missed", "Schedule launched nothing"),
                    ("event.sent", "Event sent"),
                    ("event.received", "Event received"),
                    ("event.expired", "Wait for an event expired"),
                    ("callback.received", "Callback received"),
                    ("callback.expired", "Callback expired"),
                    ("launch.refused", "Launch refused by a limit"),
                    ("workflow.paused", "Workflow paused"),
                    ("workflow.unpaused", "Workflow unpaused"),
                    ("alert.raised", "Alert raised"),
                    ("alert.cleared", "Alert cleared"),
                ],
                max_length=40,
            ),
        ),
    ]
