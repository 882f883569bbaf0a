// What the page of a run does beyond links and forms: it looks elsewhere without leaving,
// zooms its graph, lets bars grow, and says what changed. Without it the page is whole.
(() => {
  "use strict";

  const page = document.querySelector("[data-run]");
  if (!page) return;
  const $ = (selector) => document.querySelector(selector);
  const ahead = Number(page.dataset.now) - Date.now(); // the server's clock before ours

  // -- looking elsewhere: the address names it, the socket brings what differs -----------

  const INSTEAD = { node: "edge", edge: "node" }; // choosing one lets go of the other
  const SKIP = "hx-morph-skip"; // on what somebody is using right now
  let connection = page.connection ?? null;
  let isWanted = false; // the panel: it is scrolled to when it comes

  const isLive = () => connection?.socket?.readyState === WebSocket.OPEN;
  const query = () => new URLSearchParams(location.search);
  const tell = () => {
    if (isLive()) connection.socket.send(`see ${location.search}`);
    markChosen();
  };
  const look = (wanted, { push = true } = {}) => {
    for (const [name, value] of [...wanted]) if (!value) wanted.delete(name);
    const address = wanted.size ? `?${wanted}` : location.pathname;
    history[push ? "pushState" : "replaceState"](null, "", address);
    tell();
  };

  document.addEventListener("htmx:after:ws:connection", (event) => {
    const isAgain = connection !== null || location.search !== first;
    connection = event.detail.connection;
    if (isAgain) tell(); // the socket's own address is that of the first look
  });
  const first = location.search;
  window.addEventListener("popstate", tell);

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-see]");
    if (!link || event.defaultPrevented || event.button) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.getAttribute("aria-disabled")) return event.preventDefault();
    if (!isLive()) return;
    event.preventDefault();
    const wanted = query();
    for (const name of link.dataset.see.split(" ")) wanted.delete(name);
    const asked = new URL(link.getAttribute("href"), location).searchParams;
    for (const [name, value] of asked) {
      wanted.delete(INSTEAD[name]);
      wanted.set(name, value);
      isWanted ||= name in INSTEAD;
    }
    look(wanted);
  });

  const markChosen = () => {
    const chosen = query();
    for (const link of document.querySelectorAll(".graph a[data-see]")) {
      const own = new URL(link.getAttribute("href"), location).searchParams;
      const name = own.has("node") ? "node" : "edge";
      if (own.get(name) === chosen.get(name)) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };

  // -- the slider and the log's filter ---------------------------------------------------

  let sliding = 0;
  document.addEventListener("input", ({ target }) => {
    if (target.matches("[data-moments]")) {
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
    const wanted = query();
    wanted.set("at", range.value === range.max ? "" : range.value);
    if (isLive()) look(wanted, { push: false });
    else location.search = `?${wanted}`;
  };
  document.addEventListener("change", ({ target }) => {
    if (target.matches("[data-moments]")) target.removeAttribute(SKIP);
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
    const wanted = query();
    for (const name of ["level", "find"]) wanted.set(name, form.elements[name].value.trim());
    look(wanted, { push: false });
  });

  // -- the graph: zoom by button, key or wheel, pan by scrolling or dragging -------------

  let zoom = 0; // times its own size; 0 = as it fits
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
    const middle = (box.scrollTop + box.clientHeight / 2) / box.scrollHeight;
    zoom = by ? Math.min(4, Math.max(0.15, now * 1.25 ** by)) : fit(box, svg);
    applyZoom();
    box.scrollTop = middle * box.scrollHeight - box.clientHeight / 2;
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

  // -- copies, the newest line -----------------------------------------------------------

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest?.("[data-copy]");
    if (button) {
      const words = button.textContent;
      try {
        const answer = await fetch(button.dataset.copy);
        if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
        await navigator.clipboard.writeText(await answer.text());
        button.textContent = "Copied";
      } catch {
        button.textContent = "Could not copy";
      }
      setTimeout(() => (button.textContent = words), 2000);
    }
    if (target.closest?.("[data-newest]")) {
      const log = $("[data-follow]");
      log.scrollTop = log.scrollHeight;
    }
  });
  const offer = () => {
    const log = $("[data-follow]");
    const newest = $("[data-newest]");
    if (log && newest) {
      newest.hidden = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    }
  };
  document.addEventListener("scroll", offer, true);

  // -- bars that grow, and what is said --------------------------------------------------

  const grow = () => {
    const timeline = $("#run-timeline[data-live-axis='true']");
    if (!timeline) return;
    const end = Number(timeline.dataset.end);
    // what breaks of the axis leave out lies before whatever still grows
    const { origin, shift } = timeline.dataset;
    const now = Date.now() + ahead - Date.parse(origin) - Number(shift);
    for (const bar of timeline.querySelectorAll(".bar[data-to='']")) {
      const width = (100 * (Math.min(now, end) - bar.dataset.from)) / end;
      bar.setAttribute("width", `${Math.max(width, 0.25)}%`);
    }
  };
  const UNITS = [[86400, 3600, "d", "h"], [3600, 60, "h", "m"], [60, 1, "m", "s"]];
  const lengthOf = (seconds) => {
    if (seconds < 59.95) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
    const whole = Math.round(seconds);
    const [big, small, name, part] = UNITS.find(([size]) => whole >= size);
    const rest = Math.floor((whole % big) / small);
    return `${Math.floor(whole / big)} ${name}${rest ? ` ${rest} ${part}` : ""}`;
  };
  const countDown = () => {
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Math.max((Date.parse(time.dateTime) - Date.now() - ahead) / 1000, 0);
      time.textContent = `in ${lengthOf(left)}`;
    }
  };
  let said = $("#run-said")?.dataset.said;
  const say = () => {
    const news = $("#run-said")?.dataset.said;
    if (news === said) return;
    said = news;
    $("#run-says").textContent = news;
  };
  setInterval(() => {
    if (document.hidden) return;
    grow();
    countDown();
  }, 250);
  setInterval(say, 2500); // a run may take hundreds of steps while one is being read out

  // The panel is brought into view from below, so far that its beginning can be read: the
  // graph it belongs to, with its heading, stays in view above it.
  const reveal = (panel) => {
    const column = panel.closest(".run-graph");
    const scrolls = column && getComputedStyle(column).overflowY !== "visible";
    const frame = scrolls ? column.getBoundingClientRect() : { top: 0, bottom: innerHeight };
    const bottom = Math.min(frame.bottom, innerHeight);
    const place = panel.getBoundingClientRect();
    const wanted = Math.min(place.height, (bottom - frame.top) * 0.4);
    const below = place.top + wanted - bottom;
    const above = place.top - frame.top;
    if (below > 0) (scrolls ? column : window).scrollBy(0, below);
    else if (above < 0) (scrolls ? column : window).scrollBy(0, above);
  };

  // After an answer the page shows what came of it: the next question, else the status.
  let answered = null; // the question that was sent
  const question = () => $("#answer-form [name=question]")?.value ?? "";
  document.addEventListener("submit", ({ target }) => {
    if (target.id === "answer-form") answered = question();
  });
  const afterAnswer = () => {
    if (answered === null || question() === answered) return;
    answered = null;
    const place = question() ? $("#run-approval") : $("#run-status");
    place.focus({ preventScroll: true });
    place.scrollIntoView({ block: "start" });
  };

  const arrange = () => {
    countDown();
    applyZoom();
    markChosen();
    offer();
    const panel = $("#run-panel > *");
    if (isWanted && panel) {
      isWanted = false;
      reveal(panel);
    }
    afterAnswer();
  };
  document.addEventListener("htmx:after:swap", arrange);
  arrange();
})();
