"""Look up agents and convert between calls and rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING

from cryptography.fernet import InvalidToken
from django.utils import timezone

from workflows.agents.provider_api import Service
from workflows.agents.provider_api.clients import Endpoint
from workflows.infra.text import clean
from workflows.models import Agent, AgentCall, Capability, Price, Provider
from workflows.models.agents import KeyOfOtherOrigin
from workflows.runtime.errors import NotFound, Unavailable, Unsupported
from workflows.runtime.null_agents import refuse

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from workflows.agents.provider import Call

MILLION = Decimal(1_000_000)


def find_service(name: str) -> Service:
    """Return the service of an agent, of the default one for "".

    Raises NotFound, and Unavailable if it is not configured or is disabled.
    """
    import_module(
        "openai"
    )  # here on a worker thread, because the import would block the event loop
    return service_of(find_agent(name))


def find_agent(name: str) -> Agent:
    """Return an enabled agent, the default one for "". Raises NotFound or Unavailable."""
    rows = Agent.objects.select_related("provider")
    agent = rows.filter(name=name).first() if name else default_agent()
    if agent is None:
        known = list(rows.values_list("name", flat=True))
        if not known:
            refuse(name or "default")
        raise NotFound(_not_found_message(name, known))
    if not agent.is_enabled:
        raise Unavailable(f"The agent “{agent.name}” is disabled.")
    if not agent.provider.is_enabled:
        raise Unavailable(
            f"The agent “{agent.name}” is unavailable: its provider"
            f" “{agent.provider.name}” is disabled."
        )
    return agent


def require_capability(agent: str, abilities: Collection[str], needed: str) -> None:
    """Raise Unsupported if an agent lacks a capability."""
    if needed not in abilities:
        raise Unsupported(
            f"The agent “{agent}” lacks a capability:"
            f" {Capability(needed).label.lower()}. Enable it on the agent's page if its"
            " model supports it, or choose another agent."
        )


def default_agent() -> Agent | None:
    """Return the default agent: the marked one, or the only one."""
    rows = Agent.objects.select_related("provider").order_by("-is_default", "name")
    first = list(rows[:2])
    if first and (first[0].is_default or len(first) == 1):
        return first[0]
    return None


def _not_found_message(name: str, known: Sequence[str]) -> str:
    there_is = f"There is {', '.join(known)}."
    if name:
        return f"There is no agent “{name}”. {there_is}"
    return (
        f"No agent was chosen, and none is marked as the default. {there_is} Choose one,"
        " or mark the default on the Agents page."
    )


def endpoint_of(provider: Provider) -> Endpoint:
    """Return the endpoint of a provider."""
    return Endpoint(
        kind=provider.kind,
        base_url=provider.base_url,
        api_version=provider.api_version,
        timeout_seconds=provider.timeout_seconds,
    )


def service_of(agent: Agent) -> Service:
    """Return the service of an agent. Raises Unavailable if its key cannot be used."""
    provider = agent.provider
    try:
        key = provider.open_key()
    except InvalidToken:
        raise Unavailable(
            f"The key of the provider “{provider.name}” was stored under another"
            " SECRET_KEY and cannot be read: enter it again."
        ) from None
    except KeyOfOtherOrigin:
        raise Unavailable(
            f"The key of the provider “{provider.name}” was entered for another address"
            " and was not sent: enter it again."
        ) from None
    return Service(
        agent=agent.name,
        provider=provider.name,
        model=agent.model,
        endpoint=endpoint_of(provider),
        key=key,
        tries=provider.tries,
        system_prompt=agent.system_prompt,
        options=agent.options,
        capabilities=frozenset(agent.capabilities),
        price=Price.objects.filter(model=agent.model).first(),
    )


def row_of(call: Call) -> AgentCall:
    """Return a call as an unsaved row; the caller sets the run."""
    usage, error = call.usage, call.error
    duration = dt.timedelta(milliseconds=usage.milliseconds)
    return AgentCall(
        sequence=call.context.sequence if call.context else 0,
        item=getattr(call.context, "item", None),
        kind=call.kind,
        agent_name=call.service.agent,
        provider_name=call.service.provider,
        model=call.service.model,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        is_estimated=usage.is_estimated,
        cost=cost_of(call.service.price, usage.tokens_in, usage.tokens_out),
        latency_ms=usage.milliseconds,
        tries=max(usage.tries, 1),
        status=call.status,
        error_code=error.code if error else "",
        error_message=clean(str(error)) if error else "",
        created_at=timezone.now() - duration,
        replay=call.replay,
    )


def cost_of(price: Price | None, tokens_in: int, tokens_out: int) -> Decimal | None:
    """Return the cost of the tokens, None if the model has no price."""
    if price is None:
        return None
    cost = tokens_in * price.per_million_in + tokens_out * price.per_million_out
    return Decimal(cost) / MILLION
