// Keyboard shortcuts of the page viewer.
(() => {
  "use strict";

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, select, textarea, details[open]")) return;
    for (const link of document.querySelectorAll("a[data-key]")) {
      if (!link.dataset.key.split(" ").includes(event.key)) continue;
      event.preventDefault();
      link.click();
      return;
    }
  });
  const viewer = document.querySelector("[data-viewer]");
  const mark = viewer?.querySelector("rect");
  if (mark) {
    const show = () => mark.scrollIntoView({ block: "center", inline: "center" });
    viewer.querySelector("img").addEventListener("load", show, { once: true });
    show();
  }
})();
