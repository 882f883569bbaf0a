// What somebody typed is kept when their session ends under the page: they sign in, come
// back, and find it in its form. It stays in this tab's sessionStorage until then, never
// a password, a token or a file, and nobody but the same account gets it.
(() => {
  "use strict";

  const PREFIX = "typed:";
  const user = document.body.dataset.user ?? ""; // "" on the sign-in page
  const key = `${PREFIX}${user}:${location.pathname}`;
  const SECRET = /(^|[-_.:])(password\d*|token|secret|api_?key)$/i;
  const SKIPPED = new Set(["hidden", "password", "file", "submit", "button", "reset", "image"]);
  const restored = new Set(); // forms that were filled in again and not sent since
  const sent = new Set(); // forms that the browser itself is sending

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
  const isTick = (field) => field.type === "checkbox" || field.type === "radio";

  const isChanged = (field) => {
    if (isTick(field)) return field.checked !== field.defaultChecked;
    if (!field.matches("select")) return field.value !== field.defaultValue;
    const options = [...field.options];
    const isSet = field.multiple || options.some((option) => option.defaultSelected);
    return isSet
      ? options.some((option) => option.selected !== option.defaultSelected)
      : field.selectedIndex > 0;
  };

  // a form, and a field in it, by names that the page has again when it is opened again
  const place = (form) => {
    if (form.id) return `#${form.id}`;
    const address = form.getAttribute("action") ?? "";
    const alike = forms().filter((one) => (one.getAttribute("action") ?? "") === address);
    return `${address} ${alike.indexOf(form)}`;
  };
  const spot = (form, field) => {
    if (isTick(field)) return `${field.name}=${field.value}`;
    const alike = fields(form).filter((one) => one.name === field.name && !isTick(one));
    return `${field.name} ${alike.indexOf(field)}`;
  };

  const valueOf = (field) => {
    if (isTick(field)) return field.checked;
    if (!field.multiple) return field.value;
    return [...field.selectedOptions].map((option) => option.value);
  };
  const put = (field, value) => {
    if (isTick(field)) field.checked = value;
    else if (!field.multiple) field.value = value;
    else for (const option of field.options) option.selected = value.includes(option.value);
  };
  const nameOf = (field) =>
    field.labels?.[0]?.firstChild?.textContent.trim() ||
    field.getAttribute("aria-label") ||
    field.name;

  const save = () => {
    const drafts = {};
    for (const form of forms()) {
      const changed = sent.has(form) ? [] : fields(form).filter(isChanged);
      if (!changed.length) continue;
      drafts[place(form)] = changed.map((field) => ({
        spot: spot(form, field),
        name: nameOf(field),
        value: valueOf(field),
      }));
    }
    if (!Object.keys(drafts).length) return;
    try {
      sessionStorage.setItem(key, JSON.stringify(drafts));
    } catch (error) {
      console.warn("What was typed is too long to be kept.", error);
    }
  };

  // -- filling in again ----------------------------------------------------------------

  const reveal = (form) => {
    for (let at = form.closest("details"); at; at = at.parentElement.closest("details")) {
      at.open = true;
    }
    restored.add(form);
  };
  const say = (...parts) => {
    const words = document.createElement("p");
    words.className = "message";
    words.dataset.tone = "warning";
    words.append(...parts);
    document.getElementById("messages")?.append(words);
    return words;
  };

  const restore = () => {
    const drafts = JSON.parse(sessionStorage.getItem(key) ?? "null");
    sessionStorage.removeItem(key);
    if (!drafts) return;
    const left = [];
    for (const [where, draft] of Object.entries(drafts)) {
      const form = forms().find((one) => place(one) === where);
      for (const { spot: wanted, name, value } of draft) {
        const field = form && fields(form).find((one) => spot(form, one) === wanted);
        if (field) {
          put(field, value);
          field.dispatchEvent(new Event("input", { bubbles: true }));
        } else if (typeof value === "string" && value.trim()) left.push(`${name}: ${value}`);
      }
      if (form) reveal(form);
    }
    const start = document.createElement("strong");
    start.textContent = "Nothing was sent.";
    const words = [" What you typed is filled in again: check it, then send it."];
    if (!restored.size) words[0] = " Its form is not on this page any more.";
    if (left.length) words.push(` There is no place any more for this: ${left.join("; ")}`);
    say(start, ...words).dataset.keptInput = "";
  };

  // What the server filled in counts as typed: a drawing that comes by the socket, which
  // knows nothing of it, leaves alone what was typed.
  const adopt = () => {
    for (const form of forms()) {
      for (const field of fields(form)) put(field, valueOf(field));
      restored.add(form);
    }
  };

  // -- the session ends ------------------------------------------------------------------

  let isOut = false;
  const tell = () => {
    if (!isOut || document.querySelector("#messages [data-keep-typed]")) return;
    const link = document.createElement("a");
    link.href = location.pathname + location.search;
    link.dataset.keepTyped = "";
    link.textContent = "Sign in to continue.";
    say("Signed out. ", link, " What you typed on this page is kept.");
  };
  document.addEventListener("signed-out", () => {
    isOut = true;
    tell();
  });
  document.addEventListener("htmx:after:swap", tell);

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
