// Progressive enhancement of the run page: navigation between steps without a reload, graph
// zoom, growing timeline bars, announcements. The page works without it.
(() => {
  "use strict";

  const page = document.querySelector("[data-run]");
  if (!page) return;
  const $ = (selector) => document.querySelector(selector);
  const clockOffset = Number(page.dataset.now) - Date.now(); // ms that the server's clock is ahead

  // -- navigation: the address names the view, the socket delivers what differs ----------

  const EXCLUDES = { node: "edge", edge: "node" }; // selecting one deselects the other
  const SKIP = "hx-morph-skip"; // on a control in use
  let connection = page.connection ?? null;
  let shouldReveal = false; // scroll to the panel when it arrives

  const isLive = () => connection?.socket?.readyState === WebSocket.OPEN;
  const query = () => new URLSearchParams(location.search);
  const sendView = () => {
    if (isLive()) connection.socket.send(`see ${location.search}`);
    markSelected();
  };
  const navigate = (params, { push = true } = {}) => {
    for (const [name, value] of [...params]) if (!value) params.delete(name);
    const address = params.size ? `?${params}` : location.pathname;
    history[push ? "pushState" : "replaceState"](null, "", address);
    sendView();
  };

  document.addEventListener("htmx:after:ws:connection", (event) => {
    const isReconnect = connection !== null || location.search !== first;
    connection = event.detail.connection;
    if (isReconnect) sendView(); // the socket's address is that of the first view
  });
  const first = location.search;
  window.addEventListener("popstate", sendView);

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-see]");
    if (!link || event.defaultPrevented || event.button) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.getAttribute("aria-disabled")) return event.preventDefault();
    if (!isLive()) return;
    event.preventDefault();
    const params = query();
    for (const name of link.dataset.see.split(" ")) params.delete(name);
    const target = new URL(link.getAttribute("href"), location).searchParams;
    for (const [name, value] of target) {
      params.delete(EXCLUDES[name]);
      params.set(name, value);
      shouldReveal ||= name in EXCLUDES;
    }
    navigate(params);
  });

  const markSelected = () => {
    const selected = query();
    for (const link of document.querySelectorAll(".graph a[data-see]")) {
      const own = new URL(link.getAttribute("href"), location).searchParams;
      const name = own.has("node") ? "node" : "edge";
      if (own.get(name) === selected.get(name)) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };

  // -- the step slider and the log filter ------------------------------------------------

  let sliding = 0;
  document.addEventListener("input", ({ target }) => {
    if (target.matches("[data-step-slider]")) {
      target.setAttribute(SKIP, "");
      clearTimeout(sliding);
      sliding = setTimeout(() => slide(target), 60);
    }
    if (target.matches(".log-filter [type=search]")) {
      clearTimeout(sliding);
      sliding = setTimeout(() => target.form.requestSubmit(), 250);
    }
  });
  const slide = (range) => {
    const params = query();
    params.set("at", range.value === range.max ? "" : range.value);
    if (isLive()) navigate(params, { push: false });
    else location.search = `?${params}`;
  };
  document.addEventListener("change", ({ target }) => {
    if (target.matches("[data-step-slider]")) target.removeAttribute(SKIP);
    if (target.matches(".log-filter select")) target.form.requestSubmit();
  });
  document.addEventListener("focusin", ({ target }) => {
    if (target.matches(".log-filter [name]")) target.setAttribute(SKIP, "");
  });
  document.addEventListener("focusout", ({ target }) => {
    if (target.matches(".log-filter [name]")) target.removeAttribute(SKIP);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest(".log-filter");
    if (!form || !isLive()) return;
    event.preventDefault();
    const params = query();
    for (const name of ["level", "find"]) params.set(name, form.elements[name].value.trim());
    navigate(params, { push: false });
  });

  // -- the graph: zoom by button, key or wheel, pan by scrolling or dragging -------------

  let zoom = 0; // scale; 0 = fit the container
  const fit = (box, svg) => Math.min(1, box.clientWidth / svg.viewBox.baseVal.width);
  const applyZoom = () => {
    const box = $("[data-zoom]");
    const svg = box?.querySelector("svg");
    if (!svg) return;
    box.toggleAttribute("data-zoomed", zoom > 0);
    if (!zoom) return;
    svg.setAttribute("width", svg.viewBox.baseVal.width * zoom);
    svg.setAttribute("height", svg.viewBox.baseVal.height * zoom);
  };
  const zoomBy = (by) => {
    const box = $("[data-zoom]");
    const svg = box.querySelector("svg");
    const now = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const center = (box.scrollTop + box.clientHeight / 2) / box.scrollHeight;
    zoom = by ? Math.min(4, Math.max(0.15, now * 1.25 ** by)) : fit(box, svg);
    applyZoom();
    box.scrollTop = center * box.scrollHeight - box.clientHeight / 2;
  };
  document.addEventListener("click", ({ target }) => {
    const button = target.closest?.("[data-zoom-by]");
    if (button) zoomBy(Number(button.dataset.zoomBy));
  });
  document.addEventListener("keydown", (event) => {
    const by = { "+": 1, "=": 1, "-": -1, 0: 0 }[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey) return;
    if (!event.target.closest?.("[data-zoom]")) return;
    event.preventDefault();
    zoomBy(by);
  });
  document.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey || !event.target.closest?.("[data-zoom]")) return;
      event.preventDefault();
      zoomBy(event.deltaY < 0 ? 1 : -1);
    },
    { passive: false },
  );
  let drag = null;
  document.addEventListener("pointerdown", (event) => {
    const box = event.target.closest?.("[data-zoom]");
    if (!box || event.pointerType !== "mouse" || event.button || event.target.closest("a")) return;
    drag = { box, x: event.clientX + box.scrollLeft, y: event.clientY + box.scrollTop };
  });
  document.addEventListener("pointermove", (event) => {
    if (drag) drag.box.scrollTo(drag.x - event.clientX, drag.y - event.clientY);
  });
  document.addEventListener("pointerup", () => (drag = null));

  // -- copy buttons, jump to the latest log line -----------------------------------------

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest?.("[data-copy]");
    if (button) {
      const label = button.textContent;
      try {
        const response = await fetch(button.dataset.copy);
        if (!response.ok || response.redirected) throw new Error(response.statusText);
        await navigator.clipboard.writeText(await response.text());
        button.textContent = "Copied";
      } catch {
        button.textContent = "Copy failed";
      }
      setTimeout(() => (button.textContent = label), 2000);
    }
  });

  // -- growing bars, countdowns, announcements -------------------------------------------

  const grow = () => {
    const timeline = $("#run-timeline[data-live-axis='true']");
    if (!timeline) return;
    const end = Number(timeline.dataset.end);
    // time that axis breaks leave out lies before every growing bar
    const { origin, shift } = timeline.dataset;
    const now = Date.now() + clockOffset - Date.parse(origin) - Number(shift);
    for (const bar of timeline.querySelectorAll(".tl-bar[data-to='']")) {
      const width = (100 * (Math.min(now, end) - bar.dataset.from)) / end;
      bar.setAttribute("width", `${Math.max(width, 0.25)}%`);
    }
  };
  const UNITS = [[86400, 3600, "d", "h"], [3600, 60, "h", "m"], [60, 1, "m", "s"]];
  const duration = (seconds) => {
    if (seconds < 59.95) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
    const whole = Math.round(seconds);
    const [big, small, name, part] = UNITS.find(([size]) => whole >= size);
    const rest = Math.floor((whole % big) / small);
    return `${Math.floor(whole / big)} ${name}${rest ? ` ${rest} ${part}` : ""}`;
  };
  const countDown = () => {
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Math.max((Date.parse(time.dateTime) - Date.now() - clockOffset) / 1000, 0);
      time.textContent = `in ${duration(left)}`;
    }
  };
  const announcement = () => $("#run-status-text")?.dataset.text;
  let announced = announcement();
  const announce = () => {
    const text = announcement();
    if (text === announced) return;
    announced = text;
    $("#run-announcement").textContent = text;
  };
  setInterval(() => {
    if (document.hidden) return;
    grow();
    countDown();
  }, 250);
  setInterval(announce, 2500); // a screen reader needs time to read one announcement

  // Scroll just far enough to show the beginning of the panel, so that the graph stays in
  // view above it.
  const reveal = (panel) => {
    const column = panel.closest(".run-graph");
    const scrolls = column && getComputedStyle(column).overflowY !== "visible";
    const frame = scrolls ? column.getBoundingClientRect() : { top: 0, bottom: innerHeight };
    const bottom = Math.min(frame.bottom, innerHeight);
    const box = panel.getBoundingClientRect();
    const shown = Math.min(box.height, (bottom - frame.top) * 0.4);
    const below = box.top + shown - bottom;
    const above = box.top - frame.top;
    if (below > 0) (scrolls ? column : window).scrollBy(0, below);
    else if (above < 0) (scrolls ? column : window).scrollBy(0, above);
  };

  // After a decision was submitted, focus the next approval, else the status.
  let answered = null; // the approval that was submitted
  const approval = () => $("#response-form [name=question]")?.value ?? "";
  document.addEventListener("submit", ({ target }) => {
    if (target.id === "response-form") answered = approval();
  });
  const afterDecision = () => {
    if (answered === null || approval() === answered) return;
    answered = null;
    const next = approval() ? $("#run-approval") : $("#run-status");
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "start" });
  };

  // -- the tab's icon, the section that is in view ---------------------------------------

  const showIcon = () => {
    const icon = $("link[rel=icon]");
    const address = $("#run-status")?.dataset.icon;
    if (address && icon.getAttribute("href") !== address) icon.setAttribute("href", address);
  };

  const nav = $(".sections-nav");
  const markSection = () => {
    const end = scrollY < 8 ? -Infinity : nav.getBoundingClientRect().bottom + 32;
    const isAtEnd = scrollY > 8 && innerHeight + scrollY >= document.body.scrollHeight - 4;
    let current = null;
    for (const link of nav.querySelectorAll("a")) {
      const section = $(link.hash);
      const isHidden = !section || (section.id === "run-items" && !section.firstElementChild);
      link.hidden = isHidden;
      if (isHidden) continue;
      const isReached = isAtEnd || section.getBoundingClientRect().top < end;
      if (!current || isReached) current = link;
    }
    for (const link of nav.querySelectorAll("a")) {
      if (link !== current) link.removeAttribute("aria-current");
      else if (!link.hasAttribute("aria-current")) {
        link.setAttribute("aria-current", "true");
        nav.scrollLeft = link.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2;
      }
    }
  };
  nav.dataset.scripted = ""; // the stylesheet then leaves the marking to this script
  document.addEventListener("scroll", markSection, { passive: true });
  window.addEventListener("resize", markSection);

  const refresh = () => {
    countDown();
    applyZoom();
    markSelected();
    showIcon();
    markSection();
    const panel = $("#run-panel > *");
    if (shouldReveal && panel) {
      shouldReveal = false;
      reveal(panel);
    }
    afterDecision();
  };
  document.addEventListener("htmx:after:swap", refresh);
  refresh();
})();
