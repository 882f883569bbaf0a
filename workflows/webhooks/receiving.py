"""One delivery: verification, deduplication, filter, launch.

The delivery and its run are committed together, with the endpoint's row locked. A process
that dies leaves both or neither, and the sender, which has no response then, repeats the
delivery. Two requests with the same delivery are processed one after the other: the second
finds the first. The idempotency key of the run excludes a second run in any case.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import InvalidToken as NotDecrypted
from django.db import transaction
from django.db.models import F

from workflows.engine.errors import InputInvalid, RequestError
from workflows.errors import (
    InvalidPayload,
    NotAllowed,
    SignatureInvalid,
    WebhookNotFound,
    WebhookUnavailable,
)
from workflows.infra import clock, process_metrics
from workflows.infra.encryption import decrypt
from workflows.infra.text import clean
from workflows.models import (
    Deduplication,
    VerificationStyle,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookOutcome,
)
from workflows.models.webhooks import MAX_KEY_LENGTH
from workflows.system import System, system
from workflows.webhooks import mapping, signatures

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

DECOY: Final = "0" * 32  # the secret of an address that does not exist
MAX_HEADERS: Final = 60  # that are stored
MAX_HEADER_LENGTH: Final = 1_000  # characters of a stored value
EVENT_HEADERS: Final = ("x-github-event", "x-gitlab-event", "x-event-type")


@dataclass(frozen=True, slots=True)
class Request:
    """A request to an address of a webhook."""

    body: bytes
    headers: Mapping[str, str]  # lower-case names
    address: str = ""  # of the client

    @property
    def content_type(self) -> str:
        """Return the media type of the body."""
        return self.headers.get("content-type", "")


@dataclass(frozen=True, slots=True)
class Receipt:
    """The outcome of a request: its delivery, and whether it was received before."""

    delivery: WebhookDelivery
    is_repeated: bool = False
    error: RequestError | None = field(default=None, compare=False)


def digest_of(path: str) -> str:
    """Return the digest by which the endpoint of a path is found.

    The index compares digests, so that its time reveals nothing about existing paths.
    """
    return sha256(path.encode(errors="replace")).hexdigest()


def authenticate(path: str, request: Request) -> WebhookEndpoint:
    """Return the enabled endpoint of a path, if the request has a valid signature.

    A path without an enabled endpoint takes the same work: a lookup and the digest of the
    body. Raises WebhookNotFound, SignatureInvalid, WebhookUnavailable.
    """
    rows = WebhookEndpoint.objects.filter(digest=digest_of(path), enabled=True)
    endpoint = rows.first()
    if endpoint is None:
        _verify_decoy(request)
        process_metrics.WEBHOOK_DELIVERIES.labels("unknown").inc()
        raise WebhookNotFound
    try:
        signatures.verify(
            endpoint.style,
            _valid_secrets(endpoint),
            request.body,
            request.headers,
            token_header=endpoint.token_header,
        )
    except SignatureInvalid as error:
        process_metrics.WEBHOOK_DELIVERIES.labels("rejected").inc()
        rows.update(
            rejected=F("rejected") + 1,
            rejected_at=clock.now(),
            rejection=str(error)[:200],
        )
        raise
    return endpoint


def _verify_decoy(request: Request) -> None:
    headers = {"x-hub-signature-256": request.headers.get("x-hub-signature-256", "-")}
    try:
        signatures.verify(VerificationStyle.GITHUB, [DECOY], request.body, headers)
    except SignatureInvalid:
        return


def _valid_secrets(endpoint: WebhookEndpoint) -> list[str]:
    """Return the current secret, and the previous one while it is valid."""
    try:
        stored = decrypt(endpoint.secrets)
    except NotDecrypted as error:
        logger.error(  # noqa: TRY400 - the traceback says nothing more
            "The secret of webhook %s can't be decrypted: add the former SECRET_KEY to"
            " SECRET_KEY_FALLBACKS, or enter a new secret on the page of the webhook.",
            endpoint.pk,
        )
        raise WebhookUnavailable from error
    until = endpoint.previous_until
    if "previous" in stored and until is not None and until > clock.now():
        return [stored["current"], stored["previous"]]
    return [stored["current"]]


# Deliveries -----------------------------------------------------------------------------


def receive(
    endpoint: WebhookEndpoint, request: Request, executor: System = system
) -> Receipt:
    """Store an authenticated delivery and launch its run, once per delivery.

    A repeated delivery that launched a run, or was ignored, changes nothing; one that was
    refused is tried again. Raises WebhookNotFound if the endpoint was deleted meanwhile.
    """
    delivery = _delivery_of(endpoint, request)
    with transaction.atomic():
        locked = _locked(endpoint.pk)
        earlier = _earlier(locked, delivery)
        if earlier is not None:
            earlier.times = earlier.times + 1
            earlier.last_at = clock.now()
            if earlier.outcome != WebhookOutcome.REFUSED:
                earlier.save(update_fields=["times", "last_at"])
                process_metrics.WEBHOOK_DELIVERIES.labels("repeated").inc()
                return Receipt(earlier, is_repeated=True)
            _take_over(earlier, delivery)
            delivery = earlier
        return _process(locked, delivery, executor)


def replay(
    delivery: WebhookDelivery,
    *,
    by: User,
    replay_id: UUID | None = None,
    executor: System = system,
) -> Receipt:
    """Process a stored delivery again, with the present mapping and filter.

    A `replay_id` that is in use returns the delivery that has it: its form was sent again.
    Call it in the transaction of the audit event.
    """
    endpoint = _locked(delivery.endpoint_id)
    if replay_id is not None:
        known = endpoint.deliveries.filter(pk=replay_id).first()
        if known is not None:
            return Receipt(known, is_repeated=True)
    names = ("event", "headers", "body", "content_type", "size", "address")
    copy = WebhookDelivery(
        endpoint=endpoint,
        replay_of=delivery,
        replayed_by_name=by.get_username(),
        **{name: getattr(delivery, name) for name in names},
    )
    if replay_id is not None:
        copy.pk = replay_id
    return _process(endpoint, copy, executor)


def _locked(endpoint_id: UUID) -> WebhookEndpoint:
    rows = WebhookEndpoint.objects.select_for_update(of=("self",), no_key=True)
    found = rows.filter(pk=endpoint_id).select_related("owner").first()
    if found is None:
        raise WebhookNotFound
    return found


def _delivery_of(endpoint: WebhookEndpoint, request: Request) -> WebhookDelivery:
    now = clock.now()
    body = request.body.decode(errors="replace").replace("\x00", "\ufffd")
    return WebhookDelivery(
        endpoint=endpoint,
        headers=_stored_headers(request.headers, endpoint.token_header),
        body=body,
        content_type=clean(request.content_type)[:100],
        size=len(request.body),
        address=request.address,
        received_at=now,
        last_at=now,
    )


def _stored_headers(headers: Mapping[str, str], token_header: str) -> dict[str, str]:
    kept = {
        name: clean(value[:MAX_HEADER_LENGTH])
        for name, value in sorted(headers.items())
        if not signatures.is_secret_header(name, token_header)
    }
    return dict(list(kept.items())[:MAX_HEADERS])


def _earlier(
    endpoint: WebhookEndpoint, delivery: WebhookDelivery
) -> WebhookDelivery | None:
    """Set the key of a delivery; return the one that has it already."""
    try:
        payload = mapping.payload_of(delivery.body, delivery.content_type)
    except InvalidPayload:
        payload = None  # `_process` refuses it
    delivery.event = _event_of(delivery.headers, payload)
    delivery.key = key_of(endpoint, delivery, payload)
    if delivery.key is None:
        return None
    found: WebhookDelivery | None = endpoint.deliveries.filter(key=delivery.key).first()
    return found


def _take_over(earlier: WebhookDelivery, delivery: WebhookDelivery) -> None:
    """Give a refused delivery what its repetition brought."""
    for name in ("headers", "body", "content_type", "size", "address", "event"):
        setattr(earlier, name, getattr(delivery, name))


def key_of(
    endpoint: WebhookEndpoint, delivery: WebhookDelivery, payload: Any
) -> str | None:
    """Return what identifies a delivery, None if it does not have that."""
    kind, name = endpoint.deduplication, endpoint.deduplication_field
    if kind == Deduplication.DELIVERY:
        header = signatures.DELIVERY_IDS.get(VerificationStyle(endpoint.style))
        kind = Deduplication.HEADER if header else Deduplication.FIELD
        name = header or "id"
    if kind == Deduplication.BODY:
        return f"body {sha256(delivery.body.encode(errors='replace')).hexdigest()}"
    if kind == Deduplication.HEADER:
        found: Any = delivery.headers.get(name.lower(), mapping.MISSING)
    else:
        found = mapping.find(payload, name)
    if found is mapping.MISSING or found in (None, ""):
        return None
    text = mapping.as_text(found)
    if len(text) <= MAX_KEY_LENGTH - len(kind) - 1 and text.isprintable():
        return f"{kind} {text}"
    return f"{kind} sha256:{sha256(text.encode(errors='replace')).hexdigest()}"


def _event_of(headers: Mapping[str, str], payload: Any) -> str:
    """Return the type of the event, for lists."""
    for name in EVENT_HEADERS:
        if name in headers:
            return headers[name][:100]
    kind = payload.get("type") if isinstance(payload, dict) else None
    return clean(kind)[:100] if isinstance(kind, str) else ""


def _process(
    endpoint: WebhookEndpoint, delivery: WebhookDelivery, executor: System
) -> Receipt:
    """Launch the run of a delivery, and save it with its outcome."""
    error: RequestError | None = None
    try:
        delivery.message = ""
        _launch(endpoint, delivery, executor)
    except RequestError as refused:
        error = refused
        logger.warning("Webhook %s launched nothing: %s", endpoint.pk, refused)
        delivery.outcome = WebhookOutcome.REFUSED
        delivery.message = clean(str(refused))
    delivery.save()
    process_metrics.WEBHOOK_DELIVERIES.labels(delivery.outcome).inc()
    return Receipt(delivery, error=error)


def _launch(
    endpoint: WebhookEndpoint, delivery: WebhookDelivery, executor: System
) -> None:
    """Set the outcome of a delivery. Raises RequestError if it is refused."""
    payload = mapping.payload_of(delivery.body, delivery.content_type)
    if delivery.key is None and delivery.replay_of is None:
        raise InvalidPayload(
            "The delivery does not have what identifies it: see “Repeated deliveries” of"
            " the webhook."
        )
    ignored = mapping.why_ignored(endpoint.filters, payload, delivery.headers)
    if ignored:
        delivery.outcome, delivery.message = WebhookOutcome.IGNORED, clean(ignored)
        return
    owner = endpoint.owner
    if owner is None or not owner.is_active:
        raise NotAllowed(
            f"{endpoint.owner_name}, as whom the webhook acts, has no active account. Save"
            " the webhook with another account."
        )
    mapped = mapping.params_of(endpoint.mapping, payload, delivery.headers)
    with transaction.atomic():
        run = executor.execute(
            endpoint.workflow_name,
            mapped.params,
            by=owner,
            priority=endpoint.priority,
            profile=endpoint.profile,
            idempotency_key=delivery.idempotency_key,
        )
    delivery.outcome, delivery.run_id = WebhookOutcome.LAUNCHED, run.pk


def is_permanent(error: RequestError) -> bool:
    """Return whether the same delivery will be refused again, whatever people change here.

    All other causes can be corrected: a permission, an agent, a workflow that is being installed.
    """
    return isinstance(error, InputInvalid | InvalidPayload)
