from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (("workflows", "0001_initial"),)

    # fails in a second process that applies it too
    operations = (
        migrations.RunSQL(
            "CREATE TABLE unmigrated_table (id integer)", "DROP TABLE unmigrated_table"
        ),
    )
