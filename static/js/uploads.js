// File inputs of every form: reject oversized files before sending, let the later of an upload
// and a selection win, and upload files with progress before the form is submitted. Without
// this script the form sends its files and the server applies the same checks.
(() => {
  "use strict";

  const BROKEN = "Connection lost. Try again.";
  const isUpload = (element) => element.matches?.("input[type=file][data-limit]");
  const inputs = (form) => [...form.elements].filter(isUpload);
  const fieldOf = (input) => input.closest(".field");
  const choiceOf = (input) => fieldOf(input)?.querySelector("select");

  // -- errors at the field ---------------------------------------------------------------

  const showErrors = (input, messages) => {
    const id = `${input.id}-error-upload`;
    document.getElementById(id)?.remove();
    const field = fieldOf(input);
    field.toggleAttribute("data-invalid", messages.length > 0);
    input.toggleAttribute("aria-invalid", messages.length > 0);
    if (!messages.length) return input.removeAttribute("aria-describedby");
    for (const old of field.querySelectorAll(".errors")) old.remove(); // of the previous submission
    const list = document.createElement("ul");
    list.className = "errors";
    list.id = id;
    list.setAttribute("role", "alert");
    for (const message of messages) {
      const item = document.createElement("li");
      item.textContent = message;
      list.append(item);
    }
    field.append(list);
    input.setAttribute("aria-describedby", id);
  };

  const setFiles = (input, files) => {
    const chosen = new DataTransfer();
    for (const file of files) chosen.items.add(file);
    input.files = chosen.files;
  };

  // -- the later selection wins ----------------------------------------------------------

  document.addEventListener("change", ({ target }) => {
    if (isUpload(target)) {
      const limit = Number(target.dataset.limit);
      const large = [...target.files].filter((file) => file.size > limit);
      if (large.length) setFiles(target, [...target.files].filter((file) => file.size <= limit));
      const most = target.dataset.limitText;
      showErrors(target, large.map(({ name }) => `“${name}” is larger than ${most}.`));
      const choice = choiceOf(target);
      if (choice && !choice.multiple && target.files.length) choice.value = "";
    } else if (target.matches?.(".field > select:not([multiple])") && target.value) {
      const input = target.closest(".field").querySelector("input[type=file][data-limit]");
      if (!input) return;
      input.value = "";
      showErrors(input, []);
    }
  });

  // -- drop zones; a drop elsewhere does nothing -----------------------------------------

  let over = null;
  const mark = (box) => {
    if (over === box) return;
    over?.removeAttribute("data-over");
    box?.setAttribute("data-over", "");
    over = box;
  };
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      const box = event.target.closest?.("[data-drop]") ?? null;
      const input = box?.querySelector("input[type=file]");
      mark(kind === "dragover" ? box : null);
      if (kind === "dragover") event.dataTransfer.dropEffect = input ? "copy" : "none";
      else if (input) take(input, event.dataTransfer.files);
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) mark(null); // left the window
  });
  const take = (input, files) => {
    if (files.length > 1 && !input.multiple) return showErrors(input, ["Drop a single file."]);
    setFiles(input, files);
    input.dispatchEvent(new Event("change", { bubbles: true }));
    if (input.files.length && input.form.matches("[data-upload-now]")) input.form.requestSubmit();
  };

  // -- upload files, then submit the form -------------------------------------------------

  const resultOf = (request) => {
    try {
      const body = JSON.parse(request.responseText);
      if (body.errors?.[0]?.code === "signed_out") document.dispatchEvent(new Event("signed-out"));
      const error = body.errors?.[0];
      const isDenied = request.status === 403 && !error?.code;
      return { problem: error?.message, document: body.documents?.[0], isDenied };
    } catch {
      const problem = `Upload failed (HTTP ${request.status}). Try again.`;
      return { problem: request.status === 413 ? "The file is too large." : problem };
    }
  };

  const send = (input, file, row) =>
    new Promise((done) => {
      const request = new XMLHttpRequest();
      const body = new FormData();
      body.append("csrfmiddlewaretoken", input.form.elements.csrfmiddlewaretoken.value);
      body.append("file", file);
      const bar = row.querySelector("progress");
      request.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) bar.value = event.loaded / event.total;
        if (event.loaded === event.total) bar.removeAttribute("value"); // the server is processing it
      });
      const end = (result) => {
        bar.value = result.problem ? 0 : 1;
        if (result.problem) {
          const error = document.createElement("span");
          error.dataset.tone = "bad";
          error.textContent = result.problem;
          row.append(error);
        }
        done(result);
      };
      request.addEventListener("error", () => end({ problem: BROKEN }));
      request.addEventListener("load", () => end(resultOf(request)));
      request.open("POST", input.dataset.address);
      request.setRequestHeader("Accept", "application/json");
      request.send(body);
    });

  const upload = async (input) => {
    const list = input.closest("[data-drop]").querySelector(".uploads");
    const files = [...input.files];
    const rows = files.map((file) => {
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
    const results = [];
    for (const [place, file] of files.entries()) results.push(await send(input, file, rows[place]));
    return results;
  };

  // select the stored document in the list, as the server does without scripts
  const choose = (input, { id, name, pages }) => {
    const choice = choiceOf(input);
    const known = [...choice.options].find((option) => option.value === id);
    const label = `${name} · ${pages} page${pages === 1 ? "" : "s"}`;
    const option = known ?? new Option(label, id);
    if (!known) choice.append(option);
    option.selected = true;
    input.value = "";
    input.closest("[data-drop]").querySelector(".uploads").hidden = true;
  };

  let isPassing = false; // submit a form whose files are uploaded without interception

  const uploadThenSend = async (form, submitter) => {
    for (const input of inputs(form).filter((one) => one.files.length)) {
      const [result] = await upload(input);
      if (result.isDenied) break; // no permission to add documents; the form may still submit files
      if (result.problem) {
        input.closest("[data-drop]").querySelector(".uploads").hidden = true;
        showErrors(input, [result.problem]);
        return input.focus();
      }
      choose(input, result.document);
    }
    isPassing = true;
    form.requestSubmit(submitter);
    isPassing = false;
  };

  const uploadAll = async (form, input) => {
    const results = await upload(input);
    form.reset();
    if (results.every(({ problem }) => !problem)) {
      location.assign(results.length === 1 ? results[0].document.url : location.pathname);
    } else if (results.some(({ problem }) => !problem)) await refresh();
  };

  // show the files that were stored when others failed
  const refresh = async () => {
    const page = await (await fetch(location.href)).text();
    const fresh = new DOMParser().parseFromString(page, "text/html").querySelector("#library");
    if (fresh) document.querySelector("#library").replaceWith(fresh);
  };

  document.addEventListener(
    "submit",
    async (event) => {
      const form = event.target;
      const [input] = inputs(form).filter((one) => one.files.length);
      if (isPassing || !input || !form.elements.csrfmiddlewaretoken) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      const buttons = form.querySelectorAll("button[type=submit]");
      for (const button of buttons) button.setAttribute("aria-disabled", "true");
      if (form.dataset.uploading !== undefined) return; // pressed again during the upload
      form.dataset.uploading = "";
      try {
        if (form.matches("[data-upload-now]")) await uploadAll(form, input);
        else await uploadThenSend(form, event.submitter);
      } finally {
        delete form.dataset.uploading;
        for (const button of buttons) button.removeAttribute("aria-disabled");
      }
    },
    true,
  );
})();
