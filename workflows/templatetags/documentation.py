"""Links to the documentation; tests/pages/test_documentation.py checks that they resolve."""

from __future__ import annotations

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def docs(text: str, document: str, section: str = "") -> SafeString:
    """Return a link to a document or to one of its sections, with a text."""
    address = reverse("docs-page", args=[document])
    anchor = f"#{section}" if section else ""
    return format_html('<a href="{}{}">{}</a>', address, anchor, text)
