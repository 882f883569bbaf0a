"""Rows of allauth, which admin does not show: their owners manage them on their own page."""

from __future__ import annotations

from importlib import import_module

from django.apps import apps
from django.contrib import admin

LABELS = ("account", "socialaccount", "mfa", "usersessions")

for label in LABELS:
    config = apps.get_app_config(label)
    import_module(
        f"{config.name}.admin"
    )  # registers its models, before they are removed
    for model in config.get_models():
        if admin.site.is_registered(model):
            admin.site.unregister(model)
