// Progressive enhancement of every page: live status, relative times, menus, filters. The
// pages work without it. It runs before htmx so that it receives htmx's first events.
(() => {
  "use strict";

  const OUT = 4403;
  const GONE = new Set([OUT, 4404]);
  const SHOWN = "shown"; // acknowledges that the last update was painted
  const sockets = new WeakMap(); // element → its connection
  let refused = 0; // the close code that ended reconnecting

  // -- times -------------------------------------------------------------------------

  // the same rule as render/text.ago: the nearest unit of which there are at least two
  const UNITS = [
    ["years", 31556952], ["days", 86400], ["hours", 3600], ["minutes", 60], ["seconds", 1],
  ];

  const ago = (moment) => {
    const seconds = (Date.now() - moment) / 1000;
    const away = Math.floor(Math.abs(seconds) + 0.5);
    if (away < 10) return "just now";
    const [name, size] = UNITS.find(([, size]) => away >= 2 * size);
    const text = `${Math.floor(away / size + 0.5).toLocaleString("en")} ${name}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  };

  const span = (seconds) => {
    if (seconds < 10) return `${Math.max(seconds, 0).toFixed(1)} s`;
    const whole = Math.floor(seconds);
    const units = [[86400, 3600, "d", "h"], [3600, 60, "h", "m"], [60, 1, "m", "s"]];
    const unit = units.find(([big]) => whole >= big);
    if (!unit) return `${whole} s`;
    const [big, small, name, part] = unit;
    const rest = Math.floor((whole % big) / small);
    return `${Math.floor(whole / big)} ${name}${rest ? ` ${rest} ${part}` : ""}`;
  };

  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const minute = new Intl.DateTimeFormat("en-GB", {
    day: "numeric", month: "short", year: "numeric",
    hour: "2-digit", minute: "2-digit", timeZoneName: "short",
  });
  const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "long" });
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hour12: false });

  // the server groups charts by hour and day in this zone
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = `zone=${zone};path=/;max-age=31536000;samesite=lax`;

  const setText = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  const updateTimes = (root = document) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const moment = Date.parse(time.dateTime);
      if (Number.isNaN(moment)) continue;
      if ("since" in time.dataset) setText(time, span((Date.now() - moment) / 1000));
      if ("ago" in time.dataset) setText(time, ago(moment));
      if ("clock" in time.dataset) setText(time, clock.format(moment));
      // the server rendered these in the zone that the attribute names
      const { exact: exactIn = zone, day: dayIn = zone } = time.dataset;
      if (exactIn !== zone) setText(time, minute.format(moment));
      if (dayIn !== zone) setText(time, day.format(moment));
      if (!("since" in time.dataset)) time.title = exact.format(moment);
    }
  };

  // -- connection status: live, reconnecting -------------------------------------------

  const LABELS = {
    live: "Live",
    connecting: "Connecting…",
    reconnecting: "Reconnecting…",
    resting: "Paused",
    out: "Signed out",
    gone: "Deleted",
  };

  const showState = (state) => {
    const element = document.getElementById("live");
    if (!element) return;
    const isEnded = document.querySelector("[data-ended='true']") !== null;
    element.dataset.live = state;
    setText(element, LABELS[state]);
    // an ended run no longer changes: its status badge says enough
    element.hidden = isEnded && (state === "live" || state === "connecting");
  };

  let state = "connecting";
  const setState = (next) => {
    state = next;
    showState(state);
    if (state === "out") document.dispatchEvent(new Event("signed-out"));
  };

  document.addEventListener("htmx:before:ws:connection", (event) => {
    if (refused) event.preventDefault();
  });
  document.addEventListener("htmx:after:ws:connection", (event) => {
    if (refused) return event.detail.connection.socket.close(); // perhaps another account's
    sockets.set(event.target, event.detail.connection);
    event.target.connection = event.detail.connection; // for scripts that load later
    setState("live");
  });
  document.addEventListener("htmx:ws:close", (event) => {
    if (GONE.has(event.detail.code)) refused = event.detail.code;
    if (refused) setState(refused === OUT ? "out" : "gone");
    else setState(document.hidden ? "resting" : "reconnecting");
  });
  // a form's response may report it before the socket closes
  document.addEventListener("htmx:after:request", (event) => {
    if (event.detail.ctx?.response?.status !== 401) return;
    refused = OUT;
    document.querySelector("main")?.connection?.socket?.close();
    setState("out");
  });
  document.addEventListener("htmx:after:ws:message", (event) => {
    const connection = sockets.get(event.target);
    const socket = connection?.socket;
    let isSent = false;
    const acknowledge = () => {
      if (!isSent && socket?.readyState === WebSocket.OPEN) socket.send(SHOWN);
      isSent = true;
    };
    // Acknowledge after the swap was painted, so that a slow page is not sent more than it
    // can show. A page in the background is not painted: acknowledge after a timeout.
    requestAnimationFrame(acknowledge);
    setTimeout(acknowledge, 250);
  });
  // A form's response may be older than an update that the socket delivered since: request
  // the current regions, so that nothing stale stays.
  document.addEventListener("htmx:after:swap", (event) => {
    if (!event.detail.ctx?.response) return; // delivered by the socket
    const socket = document.querySelector("main")?.connection?.socket;
    if (socket?.readyState === WebSocket.OPEN) socket.send("stale");
  });
  document.addEventListener("htmx:after:swap", () => {
    showState(state);
    updateTimes();
    updateBulk();
    clearSuccess();
  });

  // A form delivered by the socket has no CSRF token: htmx sends it as a header. A form
  // submitted before htmx has processed it needs the token as a field.
  const token = () =>
    JSON.parse(document.body.getAttribute("hx-headers:inherited") || "{}")["X-CSRFToken"];
  document.addEventListener(
    "submit",
    ({ target: form }) => {
      if (form.method !== "post" || form.elements.csrfmiddlewaretoken || !token()) return;
      const input = document.createElement("input");
      Object.assign(input, { type: "hidden", name: "csrfmiddlewaretoken", value: token() });
      form.append(input);
    },
    true,
  );

  // -- forms, menus, filters -----------------------------------------------------------

  document.addEventListener("htmx:after:request", (event) => {
    const form = event.detail.ctx?.sourceElement;
    const status = event.detail.ctx?.response?.status ?? 500;
    if (form instanceof HTMLFormElement && status < 400) {
      form.reset();
      form.closest("details.action")?.removeAttribute("open");
    }
  });

  // menus close on a click outside and on Escape; the links of the top bar's menu follow it
  const MENUS = ["menu", "action", "topbar-toggle"].map((name) => `details.${name}[open]`).join();
  const belongs = (menu, element) =>
    menu.contains(element) ||
    (menu.matches(".topbar-toggle") && menu.nextElementSibling.contains(element));

  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll(MENUS)) {
      if (!belongs(menu, event.target)) menu.removeAttribute("open");
    }
  });

  // -- copy the text of an element ----------------------------------------------------

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest?.("[data-copy-from]");
    if (!button) return;
    const label = button.textContent;
    try {
      const source = document.getElementById(button.dataset.copyFrom);
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy failed";
    }
    setTimeout(() => (button.textContent = label), 2000);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll(MENUS)) {
      if (!belongs(menu, event.target)) continue;
      menu.removeAttribute("open");
      menu.querySelector("summary").focus();
    }
  });

  // An update may remove the control that has the focus, such as Claim after a claim: then
  // the focus goes to the nearest element that is left, not to the start of the page.
  const FOCUSABLE = "a[href], button:not(:disabled), input:not([type=hidden]), select, textarea, summary";
  let places = []; // ids of the focused element and of those around it
  document.addEventListener("pointerdown", () => (places = []));
  document.addEventListener("focusin", ({ target }) => {
    places = [];
    for (let one = target; one; one = one.parentElement) if (one.id) places.push(one.id);
  });
  document.addEventListener("htmx:after:swap", () => {
    if (document.activeElement !== document.body) return;
    for (const id of places) {
      const left = document.getElementById(id);
      const next = left?.matches(FOCUSABLE) ? left : left?.querySelector(FOCUSABLE);
      if (next) return next.focus({ preventScroll: true });
    }
  });

  // filters apply on change; the button is for pages without scripts
  document.addEventListener("change", (event) => {
    const form = event.target.closest?.("form[data-filters]");
    const isWritten = "complete" in event.target.dataset; // Enter submits an expression
    if (form && !isWritten) form.requestSubmit();
  });

  // leave empty filters out of the address
  document.addEventListener("formdata", ({ target: form, formData }) => {
    if (form.method !== "get") return;
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
    if (!formData.has("from") && !formData.has("to")) formData.delete("zone");
  });

  // show progress of a slow request
  document.addEventListener("submit", ({ target: form }) => {
    const busy = form.querySelector(".bulk-busy");
    if (busy) busy.hidden = false;
  });

  // selection of runs
  const selectAll = () => document.querySelector("[data-select-all]");
  const checkboxes = () => [...document.querySelectorAll("input[name=run][type=checkbox]")];
  // without scripts all buttons stay enabled: the server reports what is missing
  const enableBulk = (count) => {
    const everything = document.querySelector("#bulk-scope")?.value === "all";
    for (const button of document.querySelectorAll(".bulk-bar button[name=do]")) {
      const two = button.value === "compare";
      button.disabled = two ? everything || count !== 2 : !everything && count === 0;
      button.title = button.disabled ? (two ? "Select two runs first" : "Select runs first") : "";
    }
  };
  const updateBulk = () => {
    const count = checkboxes().filter((box) => box.checked).length;
    enableBulk(count);
    const all = selectAll();
    if (!all) return;
    all.hidden = false;
    all.checked = count > 0 && count === checkboxes().length;
    all.indeterminate = count > 0 && !all.checked;
  };
  document.addEventListener("change", ({ target }) => {
    if (target === selectAll()) for (const box of checkboxes()) box.checked = target.checked;
    if (target.name === "run" || target.id === "bulk-scope" || target === selectAll()) updateBulk();
  });

  // success messages disappear after a while
  const clearSuccess = () => {
    for (const message of document.querySelectorAll("#messages .message[data-tone='success']")) {
      if (message.querySelector("a")) continue; // it leads on
      const text = message.textContent;
      // a swap may have reused the element for another message
      const isSame = () => message.dataset.tone === "success" && message.textContent === text;
      setTimeout(() => isSame() && message.remove(), 6000);
    }
  };

  // A graph slightly wider than its container is scaled down. One that would become
  // unreadable keeps its size and is scrolled to the current step, else to its entry.
  const MIN_SCALE = 0.8;
  const graphs = () => document.querySelectorAll(".graph-wide");
  const fitGraphs = () => {
    for (const box of graphs()) {
      const width = box.querySelector("svg").viewBox.baseVal.width;
      box.toggleAttribute("data-fitted", box.clientWidth >= width * MIN_SCALE);
    }
  };
  const scrollGraphs = () => {
    for (const box of graphs()) {
      const current = box.querySelector(
        "[data-state=started], [data-state=waiting], [data-state=failed]",
      );
      const start = current ?? box.querySelector(".graph-entry");
      if (!start || "fitted" in box.dataset) continue;
      const node = start.getBoundingClientRect();
      const frame = box.getBoundingClientRect();
      box.scrollLeft += node.left + node.width / 2 - frame.left - frame.width / 2;
      if (current) box.scrollTop += node.top - frame.top - frame.height / 2;
    }
  };
  document.addEventListener("htmx:after:swap", fitGraphs);
  window.addEventListener("resize", fitGraphs);

  // htmx may have processed the page before its extension loaded: process it again
  document.addEventListener("DOMContentLoaded", () => window.htmx?.process(document.body));

  showState(state);
  updateTimes();
  updateBulk();
  clearSuccess();
  fitGraphs();
  scrollGraphs();
  setInterval(() => {
    if (!document.hidden) updateTimes();
  }, 1000);
})();
