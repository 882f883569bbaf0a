// The log of a run page: it follows its end while the reader is there, stops when the reader
// scrolls up, and reports new lines to screen readers in sum. The page works without it.
(() => {
  "use strict";

  const NEAR_END = 24; // pixels
  const ANNOUNCE_MS = 10_000; // a sum of lines, not one announcement per line
  const box = () => document.querySelector("#run-log-box");
  const toggle = () => document.querySelector("[data-follow-log]");
  const latest = () => document.querySelector("[data-latest]");
  const ids = () => [...(box()?.querySelectorAll("li") ?? [])].map((line) => line.id);

  let isFollowing = true;
  let lastRead = ""; // id of the last line that was at the end of the box while following
  let lastAnnounced = "";

  const isAtEnd = (element) =>
    element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END;
  const countAfter = (id) => {
    const all = ids();
    return all.length - 1 - all.lastIndexOf(id); // all of them if the line was replaced
  };

  const show = () => {
    const element = box();
    if (!element) return;
    if (isFollowing) {
      element.scrollTop = element.scrollHeight;
      lastRead = ids().at(-1) ?? "";
    }
    const button = toggle();
    if (button) {
      const unread = isFollowing ? 0 : countAfter(lastRead);
      button.hidden = false;
      button.setAttribute("aria-pressed", String(isFollowing));
      button.title = isFollowing ? "Stop following the log" : "Follow the log: show new lines";
      button.textContent = unread ? `Follow · ${unread} new` : "Follow";
    }
    const jump = latest();
    if (jump) jump.hidden = isAtEnd(element);
  };

  document.addEventListener(
    "scroll",
    ({ target }) => {
      if (target !== box()) return;
      const wasFollowing = isFollowing;
      isFollowing = isAtEnd(target);
      if (isFollowing !== wasFollowing || latest()) show();
    },
    true,
  );
  document.addEventListener("click", ({ target }) => {
    const isToggle = target.closest?.("[data-follow-log]");
    if (!isToggle && !target.closest?.("[data-latest]")) return;
    isFollowing = isToggle ? !isFollowing : true;
    show();
  });

  lastAnnounced = ids().at(-1) ?? "";
  setInterval(() => {
    const count = countAfter(lastAnnounced);
    lastAnnounced = ids().at(-1) ?? "";
    const live = document.querySelector("#log-announcement");
    if (!live || count < 1 || !toggle()) return;
    live.textContent = `${count} new log line${count === 1 ? "" : "s"}.`;
  }, ANNOUNCE_MS);

  document.addEventListener("htmx:after:swap", show);
  show();
})();
