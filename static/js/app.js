// What the pages do beyond links and forms. Without it they are complete; with it they
// keep themselves true. It runs before htmx, so that it hears htmx's first events.
(() => {
  "use strict";

  const OUT = 4403;
  const GONE = new Set([OUT, 4404]);
  const SHOWN = "shown"; // tells the server that its last drawing is on the page
  const sockets = new WeakMap(); // element → its connection
  let refused = 0; // the close code after which we do not come back

  // -- times -------------------------------------------------------------------------

  // the same rule as words.ago: the nearest unit, from two of it on, so "in 47 hours"
  const UNITS = [
    ["years", 31556952], ["days", 86400], ["hours", 3600], ["minutes", 60], ["seconds", 1],
  ];

  const ago = (moment) => {
    const seconds = (Date.now() - moment) / 1000;
    const away = Math.floor(Math.abs(seconds) + 0.5);
    if (away < 10) return "just now";
    const [name, size] = UNITS.find(([, size]) => away >= 2 * size);
    const words = `${Math.floor(away / size + 0.5).toLocaleString("en")} ${name}`;
    return seconds > 0 ? `${words} ago` : `in ${words}`;
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

  // the server learns it for what it counts by the hour and the day
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = `zone=${zone};path=/;max-age=31536000;samesite=lax`;

  const say = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  const tellTimes = (root = document) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const moment = Date.parse(time.dateTime);
      if (Number.isNaN(moment)) continue;
      if ("since" in time.dataset) say(time, span((Date.now() - moment) / 1000));
      if ("ago" in time.dataset) say(time, ago(moment));
      if ("clock" in time.dataset) say(time, clock.format(moment));
      // written by the server in the zone that it names
      const { exact: exactIn = zone, day: dayIn = zone } = time.dataset;
      if (exactIn !== zone) say(time, minute.format(moment));
      if (dayIn !== zone) say(time, day.format(moment));
      if (!("since" in time.dataset)) time.title = exact.format(moment);
    }
  };

  // -- the mark: live, reconnecting, ended --------------------------------------------

  const WORDS = {
    live: "Live",
    connecting: "Connecting…",
    reconnecting: "Reconnecting…",
    resting: "Resting",
    ended: "Ended",
    out: "Signed out",
    gone: "Deleted",
  };

  const mark = (state) => {
    const element = document.getElementById("live");
    if (!element) return;
    const ended = document.querySelector("[data-ended='true']");
    const shown = ended && (state === "live" || state === "connecting") ? "ended" : state;
    element.dataset.live = shown;
    say(element, WORDS[shown]);
    element.hidden = false;
  };

  let state = "connecting";
  const become = (next) => {
    state = next;
    mark(state);
    if (state === "out") document.dispatchEvent(new Event("signed-out"));
  };

  document.addEventListener("htmx:before:ws:connection", (event) => {
    if (refused) event.preventDefault();
  });
  document.addEventListener("htmx:after:ws:connection", (event) => {
    if (refused) return event.detail.connection.socket.close(); // perhaps of another account
    sockets.set(event.target, event.detail.connection);
    event.target.connection = event.detail.connection; // for scripts that come later
    become("live");
  });
  document.addEventListener("htmx:ws:close", (event) => {
    if (GONE.has(event.detail.code)) refused = event.detail.code;
    if (refused) become(refused === OUT ? "out" : "gone");
    else become(document.hidden ? "resting" : "reconnecting");
  });
  // the answer to a form may know it before the socket does
  document.addEventListener("htmx:after:request", (event) => {
    if (event.detail.ctx?.response?.status !== 401) return;
    refused = OUT;
    document.querySelector("main")?.connection?.socket?.close();
    become("out");
  });
  document.addEventListener("htmx:after:ws:message", (event) => {
    const connection = sockets.get(event.target);
    const socket = connection?.socket;
    let told = false;
    const tell = () => {
      if (!told && socket?.readyState === WebSocket.OPEN) socket.send(SHOWN);
      told = true;
    };
    // after the swap was painted, so that a slow page is not sent more than it can show;
    // a page that is not painted at all, behind other windows, says so after a while
    requestAnimationFrame(tell);
    setTimeout(tell, 250);
  });
  // The answer to a form was drawn before what the socket may have brought meanwhile: we
  // ask for the newest, so that nothing older stays.
  document.addEventListener("htmx:after:swap", (event) => {
    if (!event.detail.ctx?.response) return; // it came by the socket
    const socket = document.querySelector("main")?.connection?.socket;
    if (socket?.readyState === WebSocket.OPEN) socket.send("stale");
  });
  document.addEventListener("htmx:after:swap", () => {
    mark(state);
    tellTimes();
    follow();
    tickTogether();
    clearGoodNews();
  });

  // -- the log follows its end unless someone reads further up -------------------------

  let atEnd = true;
  const log = () => document.querySelector("[data-follow]");
  const follow = () => {
    const element = log();
    if (element && atEnd) element.scrollTop = element.scrollHeight;
  };
  document.addEventListener(
    "scroll",
    (event) => {
      const element = event.target;
      if (element === log()) {
        atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
      }
    },
    true,
  );

  // A form that came over the socket has no token: htmx sends it as a header. Who is
  // quicker than htmx sends the form itself, and then it needs one.
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

  // -- small comforts -----------------------------------------------------------------

  document.addEventListener("htmx:after:request", (event) => {
    const form = event.detail.ctx?.sourceElement;
    const status = event.detail.ctx?.response?.status ?? 500;
    if (form instanceof HTMLFormElement && status < 400) {
      form.reset();
      form.closest("details.deed")?.removeAttribute("open");
    }
  });

  // menus close by a click elsewhere and by Escape; that of the bar has its links beside it
  const MENUS = ["menu", "deed", "bar-switch"].map((name) => `details.${name}[open]`).join();
  const belongs = (menu, element) =>
    menu.contains(element) ||
    (menu.matches(".bar-switch") && menu.nextElementSibling.contains(element));

  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll(MENUS)) {
      if (!belongs(menu, event.target)) menu.removeAttribute("open");
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll(MENUS)) {
      if (!belongs(menu, event.target)) continue;
      menu.removeAttribute("open");
      menu.querySelector("summary").focus();
    }
  });

  // filters apply as they are chosen; their button is for pages without scripts
  document.addEventListener("change", (event) => {
    const form = event.target.closest?.("form[data-filters]");
    if (form) form.requestSubmit();
  });

  // an address says only what was chosen
  document.addEventListener("formdata", ({ target: form, formData }) => {
    if (form.method !== "get") return;
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
    if (!formData.has("from") && !formData.has("to")) formData.delete("zone");
  });

  // what takes a while says that it is under way
  document.addEventListener("submit", ({ target: form }) => {
    const working = form.querySelector(".working");
    if (working) working.hidden = false;
  });

  // one tick for all runs on the page
  const tickAll = () => document.querySelector("[data-tick-all]");
  const ticks = () => [...document.querySelectorAll("input[name=run][type=checkbox]")];
  // without scripts all buttons stay enabled: the server says what is missing
  const enableBulk = (count) => {
    const everything = document.querySelector("#bulk-scope")?.value === "all";
    for (const button of document.querySelectorAll(".bulk-bar button[name=do]")) {
      const two = button.value === "compare";
      button.disabled = two ? everything || count !== 2 : !everything && count === 0;
      button.title = button.disabled ? (two ? "Select two runs first" : "Select runs first") : "";
    }
  };
  const tickTogether = () => {
    const count = ticks().filter((tick) => tick.checked).length;
    enableBulk(count);
    const all = tickAll();
    if (!all) return;
    all.hidden = false;
    all.checked = count > 0 && count === ticks().length;
    all.indeterminate = count > 0 && !all.checked;
  };
  document.addEventListener("change", ({ target }) => {
    if (target === tickAll()) for (const tick of ticks()) tick.checked = target.checked;
    if (target.name === "run" || target.id === "bulk-scope" || target === tickAll()) tickTogether();
  });

  // good news need not stay in the way
  const clearGoodNews = () => {
    for (const message of document.querySelectorAll("#messages .message[data-tone='success']")) {
      const text = message.textContent;
      // a swap may have put another message into the same element meanwhile
      const isSame = () => message.dataset.tone === "success" && message.textContent === text;
      setTimeout(() => isSame() && message.remove(), 6000);
    }
  };

  // A graph little wider than its place is shown whole. What would become too small to read
  // keeps its size, and begins where the run stands, else at its entry.
  const READABLE = 0.8; // times its own size
  const graphs = () => document.querySelectorAll(".graph-wide");
  const fitGraphs = () => {
    for (const box of graphs()) {
      const width = box.querySelector("svg").viewBox.baseVal.width;
      box.toggleAttribute("data-fitted", box.clientWidth >= width * READABLE);
    }
  };
  const beginGraphs = () => {
    for (const box of graphs()) {
      const here = box.querySelector(
        "[data-state=started], [data-state=waiting], [data-state=failed]",
      );
      const start = here ?? box.querySelector(".graph-entry");
      if (!start || "fitted" in box.dataset) continue;
      const place = start.getBoundingClientRect();
      const frame = box.getBoundingClientRect();
      box.scrollLeft += place.left + place.width / 2 - frame.left - frame.width / 2;
      if (here) box.scrollTop += place.top - frame.top - frame.height / 2;
    }
  };
  document.addEventListener("htmx:after:swap", fitGraphs);
  window.addEventListener("resize", fitGraphs);

  // htmx may have looked at the page before its extension had arrived: let it look again
  document.addEventListener("DOMContentLoaded", () => window.htmx?.process(document.body));

  mark(state);
  tellTimes();
  follow();
  tickTogether();
  clearGoodNews();
  fitGraphs();
  beginGraphs();
  setInterval(() => {
    if (!document.hidden) tellTimes();
  }, 1000);
})();
