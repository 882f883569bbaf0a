"""Bind the stored keys of providers to the origin of their base URL.

A key that no secret key decrypts stays as it is: it cannot be used, and is refused later if
it can be decrypted again.
"""

from cryptography.fernet import InvalidToken
from django.db import migrations
from django.db.migrations.state import StateApps

from workflows.infra import encryption
from workflows.infra.addresses import origin_of


def bind_keys(apps: StateApps, _editor: object) -> None:
    """Encrypt each key again, together with its origin."""
    providers = apps.get_model("workflows", "Provider").objects
    for provider in providers.exclude(key=None):
        try:
            values = encryption.decrypt(provider.key)
        except InvalidToken:
            continue
        if "origin" not in values:
            values["origin"] = origin_of(provider.base_url)
            provider.key = encryption.encrypt(values)
            provider.save(update_fields=["key"])


class Migration(migrations.Migration):
    dependencies = [("workflows", "0018_action_names")]

    # earlier releases read the key and ignore the origin
    operations = [migrations.RunPython(bind_keys, migrations.RunPython.noop)]
