// Preserve unsent form input when the session ends: after signing in, the form is restored.
// Drafts stay in this tab's sessionStorage until then, never with a password, token or file,
// and are restored for the same account only.
(() => {
  "use strict";

  const PREFIX = "typed:";
  const user = document.body.dataset.user ?? ""; // "" on the sign-in page
  const key = `${PREFIX}${user}:${location.pathname}`;
  const SECRET = /(^|[-_.:])(password\d*|token|secret|api_?key)$/i;
  const SKIPPED = new Set(["hidden", "password", "file", "submit", "button", "reset", "image"]);
  const restored = new Set(); // restored forms that were not submitted since
  const sent = new Set(); // forms that the browser is submitting

  const kept = () =>
    Object.keys(sessionStorage).filter((name) => name.startsWith(PREFIX));
  const forms = () => [...document.forms].filter((form) => form.method === "post");
  const fields = (form) =>
    [...form.elements].filter(
      (field) =>
        field.matches("input, select, textarea") &&
        field.name &&
        !SKIPPED.has(field.type) &&
        !SECRET.test(field.name),
    );
  const isCheckable = (field) => field.type === "checkbox" || field.type === "radio";

  const isChanged = (field) => {
    if (isCheckable(field)) return field.checked !== field.defaultChecked;
    if (!field.matches("select")) return field.value !== field.defaultValue;
    const options = [...field.options];
    const isSet = field.multiple || options.some((option) => option.defaultSelected);
    return isSet
      ? options.some((option) => option.selected !== option.defaultSelected)
      : field.selectedIndex > 0;
  };

  // stable keys of a form and of a field in it, equal when the page is opened again
  const formKey = (form) => {
    if (form.id) return `#${form.id}`;
    const address = form.getAttribute("action") ?? "";
    const alike = forms().filter((one) => (one.getAttribute("action") ?? "") === address);
    return `${address} ${alike.indexOf(form)}`;
  };
  const fieldKey = (form, field) => {
    if (isCheckable(field)) return `${field.name}=${field.value}`;
    const alike = fields(form).filter((one) => one.name === field.name && !isCheckable(one));
    return `${field.name} ${alike.indexOf(field)}`;
  };

  const valueOf = (field) => {
    if (isCheckable(field)) return field.checked;
    if (!field.multiple) return field.value;
    return [...field.selectedOptions].map((option) => option.value);
  };
  const setValue = (field, value) => {
    if (isCheckable(field)) field.checked = value;
    else if (!field.multiple) field.value = value;
    else for (const option of field.options) option.selected = value.includes(option.value);
  };
  const labelOf = (field) =>
    field.labels?.[0]?.firstChild?.textContent.trim() ||
    field.getAttribute("aria-label") ||
    field.name;

  const save = () => {
    const drafts = {};
    for (const form of forms()) {
      const changed = sent.has(form) ? [] : fields(form).filter(isChanged);
      if (!changed.length) continue;
      drafts[formKey(form)] = changed.map((field) => ({
        key: fieldKey(form, field),
        name: labelOf(field),
        value: valueOf(field),
      }));
    }
    if (!Object.keys(drafts).length) return;
    try {
      sessionStorage.setItem(key, JSON.stringify(drafts));
    } catch (error) {
      console.warn("The form input is too long to keep.", error);
    }
  };

  // -- restore ------------------------------------------------------------------------

  const reveal = (form) => {
    for (let at = form.closest("details"); at; at = at.parentElement.closest("details")) {
      at.open = true;
    }
    restored.add(form);
  };
  const showMessage = (...parts) => {
    const message = document.createElement("p");
    message.className = "message";
    message.dataset.tone = "warning";
    message.append(...parts);
    document.getElementById("messages")?.append(message);
    return message;
  };

  const restore = () => {
    const drafts = JSON.parse(sessionStorage.getItem(key) ?? "null");
    sessionStorage.removeItem(key);
    if (!drafts) return;
    const left = [];
    for (const [where, draft] of Object.entries(drafts)) {
      const form = forms().find((one) => formKey(one) === where);
      for (const { key: wanted, name, value } of draft) {
        const field = form && fields(form).find((one) => fieldKey(form, one) === wanted);
        if (field) {
          setValue(field, value);
          field.dispatchEvent(new Event("input", { bubbles: true }));
        } else if (typeof value === "string" && value.trim()) left.push(`${name}: ${value}`);
      }
      if (form) reveal(form);
    }
    const start = document.createElement("strong");
    start.textContent = "Not submitted.";
    const parts = [" Your input was restored: review it and submit again."];
    if (!restored.size) parts[0] = " The form is no longer on this page.";
    if (left.length) parts.push(` Input that could not be restored: ${left.join("; ")}`);
    showMessage(start, ...parts).dataset.keptInput = "";
  };

  // Treat input that the server restored as typed: an update from the socket, which does not
  // know it, then leaves it alone.
  const adopt = () => {
    for (const form of forms()) {
      for (const field of fields(form)) setValue(field, valueOf(field));
      restored.add(form);
    }
  };

  // -- the session ends ------------------------------------------------------------------

  let isOut = false;
  const announce = () => {
    if (!isOut || document.querySelector("#messages [data-keep-typed]")) return;
    const link = document.createElement("a");
    link.href = location.pathname + location.search;
    link.dataset.keepTyped = "";
    link.textContent = "Sign in to continue.";
    showMessage("Signed out. ", link, " Your input on this page is kept.");
  };
  document.addEventListener("signed-out", () => {
    isOut = true;
    announce();
  });
  document.addEventListener("htmx:after:swap", announce);

  window.addEventListener("pagehide", () => {
    if (document.querySelector("[data-keep-typed]") || restored.size) save();
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.getAttribute("action")?.endsWith("/logout/")) {
      kept().forEach((name) => sessionStorage.removeItem(name));
      restored.clear();
      document.querySelectorAll("[data-keep-typed]").forEach((link) => link.remove());
    } else if (!event.defaultPrevented) sent.add(form);
  });
  document.addEventListener("htmx:after:request", ({ detail }) => {
    const form = detail.ctx?.sourceElement?.closest?.("form");
    if (form && detail.ctx.response.status < 400) restored.delete(form);
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) sent.clear();
  });

  if (user) {
    for (const name of kept()) {
      if (!name.startsWith(`${PREFIX}${user}:`)) sessionStorage.removeItem(name);
    }
    restore();
    if (document.querySelector("[data-kept-input]") && !restored.size) adopt();
  }
})();
