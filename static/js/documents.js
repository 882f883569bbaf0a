// Uploads with their progress, dropped files, and the keys of the page viewer. Without it
// the form sends its files by itself and the viewer goes by links.
(() => {
  "use strict";

  const send = (form, file, row) =>
    new Promise((done) => {
      const request = new XMLHttpRequest();
      const body = new FormData();
      body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
      body.append("file", file);
      const bar = row.querySelector("progress");
      request.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) bar.value = event.loaded / event.total;
        if (event.loaded === event.total) bar.removeAttribute("value"); // it is being read
      });
      const end = (problem, url) => {
        bar.value = problem ? 0 : 1;
        if (problem) {
          const words = document.createElement("span");
          words.dataset.tone = "bad";
          words.textContent = problem;
          row.append(words);
        }
        done({ problem, url });
      };
      request.addEventListener("error", () => end("The connection broke. Try it again."));
      request.addEventListener("load", () => {
        try {
          const told = JSON.parse(request.responseText);
          end(told.errors[0]?.message, told.documents[0]?.url);
        } catch {
          end(
            request.status === 413
              ? "The file is larger than we accept."
              : `The server answered ${request.status}. Reload the page and try it again.`,
          );
        }
      });
      request.open("POST", form.action || location.href);
      request.setRequestHeader("Accept", "application/json");
      request.send(body);
    });

  const upload = async (form, files) => {
    const list = form.querySelector(".uploads");
    const button = form.querySelector("button[type=submit]");
    const rows = [...files].map((file) => {
      const row = document.createElement("li");
      const name = document.createElement("b");
      const bar = document.createElement("progress");
      name.textContent = file.name;
      bar.max = 1;
      bar.value = 0;
      bar.setAttribute("aria-label", `Upload of ${file.name}`);
      row.append(name, bar);
      return row;
    });
    list.replaceChildren(...rows);
    list.hidden = false;
    button.disabled = true;
    const results = [];
    for (const [place, file] of [...files].entries()) results.push(await send(form, file, rows[place]));
    button.disabled = false;
    form.reset();
    if (results.some(({ problem }) => problem)) {
      if (results.some(({ url }) => url)) await refresh();
      return;
    }
    location.assign(results.length === 1 ? results[0].url : location.pathname);
  };

  // what was stored beside what was refused is in the library now
  const refresh = async () => {
    const page = await (await fetch(location.href)).text();
    const fresh = new DOMParser().parseFromString(page, "text/html").querySelector("#library");
    if (fresh) document.querySelector("#library").replaceWith(fresh);
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const files = form.matches("form[data-upload]") ? form.elements.file.files : [];
    if (!files.length) return;
    event.preventDefault();
    upload(form, files);
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      const form = event.target.closest?.("form[data-upload]");
      if (!form || !event.dataTransfer?.types.includes("Files")) return;
      if (kind !== "dragleave") event.preventDefault();
      form.toggleAttribute("data-over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) upload(form, event.dataTransfer.files);
    });
  }

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
  const place = viewer?.querySelector("rect");
  if (place) {
    const show = () => place.scrollIntoView({ block: "center", inline: "center" });
    viewer.querySelector("img").addEventListener("load", show, { once: true });
    show();
  }
})();
