from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0048_limits"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="delivery",
            options={"ordering": ["-id"], "verbose_name_plural": "deliveries"},
        ),
    ]
