// Progressive enhancement of search: `/` focuses the box of the header, ⌘K or Ctrl+K opens the
// palette, and expressions are completed. Search works without it, as plain forms.
(() => {
  "use strict";

  const DELAY_MS = 120; // after the last key, before the server is asked
  const box = document.querySelector(".search-box");
  if (!box) return; // not signed in

  const isTyping = (element) =>
    element.isContentEditable || /^(input|select|textarea)$/i.test(element.tagName);

  // -- a listbox below an input: aria-activedescendant follows the arrow keys ---------------

  class Options {
    constructor(input, list) {
      Object.assign(this, { input, list, active: -1 });
      input.setAttribute("role", "combobox");
      input.setAttribute("aria-autocomplete", "list");
      input.setAttribute("aria-controls", list.id);
      list.setAttribute("role", "listbox");
      this.update();
    }

    get all() {
      return [...this.list.querySelectorAll("[role=option]")];
    }

    get current() {
      return this.all[this.active] ?? null;
    }

    update(active = -1) {
      const options = this.all;
      options.forEach((option, index) => (option.id = `${this.list.id}-${index}`));
      this.input.setAttribute("aria-expanded", String(options.length > 0));
      this.select(Math.min(active, options.length - 1));
    }

    select(index) {
      this.active = index;
      this.all.forEach((option, i) => option.setAttribute("aria-selected", String(i === index)));
      if (this.current) this.input.setAttribute("aria-activedescendant", this.current.id);
      else this.input.removeAttribute("aria-activedescendant");
      this.current?.scrollIntoView({ block: "nearest" });
    }

    // Returns whether the key moved the selection.
    move(key) {
      const count = this.all.length;
      const step = { ArrowDown: 1, ArrowUp: -1 }[key];
      if (!step || !count) return false;
      const from = this.active < 0 && step < 0 ? 0 : this.active;
      this.select((from + step + count) % count);
      return true;
    }
  }

  // Requests some time after the last call; an answer that a later call overtook is dropped.
  const latest = (request, show) => {
    let timer = 0;
    let number = 0;
    return (delay = DELAY_MS) => {
      clearTimeout(timer);
      number++;
      timer = setTimeout(async () => {
        const mine = number;
        const found = await request().catch(() => null);
        if (mine === number && found !== null) show(found);
      }, delay);
    };
  };

  const get = async (address, query) => {
    const answer = await fetch(`${address}?${new URLSearchParams(query)}`, {
      headers: { Accept: "*/*" },
    });
    if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
    return answer;
  };

  // -- palette ------------------------------------------------------------------------------

  const palette = document.createElement("dialog");
  palette.className = "palette";
  palette.setAttribute("aria-label", "Pages and actions");
  const query = document.createElement("input");
  Object.assign(query, {
    type: "text", maxLength: 200, autocomplete: "off", spellcheck: false,
    placeholder: "Go to a page, launch a workflow, search…",
  });
  query.setAttribute("aria-label", "Go to a page or search");
  const found = document.createElement("div");
  found.id = "palette-options";
  found.className = "palette-options";
  found.setAttribute("aria-label", "Pages and actions");
  palette.append(query, found);
  document.body.append(palette);
  const options = new Options(query, found);

  const refresh = latest(
    async () => (await get(box.dataset.palette, { q: query.value })).text(),
    (html) => {
      found.innerHTML = html; // rendered and escaped by the server
      options.update(0);
    },
  );
  let opener = null;
  const openPalette = () => {
    if (palette.open) return palette.close();
    opener = document.activeElement;
    query.value = "";
    palette.showModal();
    query.focus();
    refresh(0);
  };
  palette.addEventListener("close", () => opener?.focus?.());
  palette.addEventListener("click", ({ target }) => {
    if (target === palette) palette.close(); // the backdrop
  });
  query.addEventListener("input", () => refresh());
  query.addEventListener("keydown", (event) => {
    if (options.move(event.key)) return event.preventDefault();
    if (event.key !== "Enter") return;
    event.preventDefault();
    options.current?.click();
  });

  // -- keys ---------------------------------------------------------------------------------

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    if (event.key.toLowerCase() === "k" && (event.metaKey || event.ctrlKey) && !event.altKey) {
      event.preventDefault();
      openPalette();
    }
    if (event.key !== "/" || event.metaKey || event.ctrlKey || event.altKey) return;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    const input = box.elements.q;
    if (input.offsetWidth > 1) input.select();
    else box.submit(); // a narrow screen shows the button only
    input.focus();
  });

  // -- lists by keyboard, and the sheet of all keys ---------------------------------------

  const KEYS = [
    ["/", "Search"], ["⌘K or Ctrl+K", "Pages and actions"],
    ["j", "Next approval"], ["k", "Previous approval"], ["Enter", "Open the approval"],
    ["?", "Show these keys"], ["Escape", "Close"],
  ];
  const sheet = document.createElement("dialog");
  sheet.className = "palette keys";
  sheet.setAttribute("aria-labelledby", "keys-heading");
  const heading = document.createElement("h2");
  heading.id = "keys-heading";
  heading.textContent = "Keys";
  const listed = document.createElement("dl");
  for (const [key, help] of KEYS) {
    const term = document.createElement("dt");
    const name = document.createElement("kbd");
    name.textContent = key;
    term.append(name);
    const text = document.createElement("dd");
    text.textContent = help;
    listed.append(term, text);
  }
  const closer = document.createElement("button");
  Object.assign(closer, { type: "button", className: "button", textContent: "Close" });
  closer.addEventListener("click", () => sheet.close());
  sheet.append(heading, listed, closer);
  document.body.append(sheet);

  const links = () => [...document.querySelectorAll("[data-keys] > li div > a")];
  for (const hint of document.querySelectorAll(".keys-hint")) hint.hidden = false;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey) return;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key === "?") {
      opener = document.activeElement;
      sheet.showModal();
      return event.preventDefault();
    }
    const step = { j: 1, k: -1 }[event.key];
    const rows = links();
    if (!step || !rows.length) return;
    const at = rows.findIndex((link) => link.closest("li").contains(document.activeElement));
    const next = at < 0 ? 0 : Math.min(Math.max(at + step, 0), rows.length - 1);
    rows[next].focus(); // Enter follows a link
    rows[next].scrollIntoView({ block: "nearest" });
    event.preventDefault();
  });
  sheet.addEventListener("close", () => opener?.focus?.());

  // -- completion of expressions --------------------------------------------------------------

  for (const input of document.querySelectorAll("input[data-complete]")) {
    const list = document.createElement("div");
    list.id = `${input.id}-options`;
    list.className = "completions";
    list.hidden = true;
    list.setAttribute("aria-label", "Completions");
    input.after(list);
    const choices = new Options(input, list);

    let shown = ""; // an equal answer keeps what is selected
    const close = () => {
      shown = "";
      list.replaceChildren();
      list.hidden = true;
      choices.update();
    };
    const accept = (option) => {
      const { begin, text } = option.dataset;
      const rest = input.value.slice(input.selectionStart);
      input.setRangeText(text, Number(begin), input.selectionStart, "end");
      if (!rest && !/[\s.(]$/.test(text)) input.setRangeText(" ", input.selectionStart, input.selectionStart, "end");
      ask(0);
    };
    const show = (items) => {
      const key = JSON.stringify(items);
      if (key === shown && !list.hidden) return;
      shown = key;
      list.replaceChildren(
        ...items.map(({ text, help, begin }) => {
          const option = document.createElement("div");
          option.setAttribute("role", "option");
          Object.assign(option.dataset, { text, begin });
          const name = document.createElement("code");
          name.textContent = text.trim();
          option.append(name, ` ${help}`);
          return option;
        }),
      );
      list.hidden = items.length === 0 || document.activeElement !== input;
      choices.update();
    };
    const ask = latest(async () => {
      const at = input.selectionStart ?? input.value.length;
      return (await (await get(input.dataset.complete, { q: input.value, at })).json()).items;
    }, show);

    input.addEventListener("input", () => {
      close(); // those of the text before
      ask();
    });
    input.addEventListener("focus", () => ask());
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !list.hidden) {
        event.preventDefault(); // a search field would empty itself
        close();
      } else if (choices.move(event.key)) {
        event.preventDefault();
      } else if (event.key === "Enter" && choices.current) {
        event.preventDefault();
        accept(choices.current);
      }
    });
    // not click: the input would lose the focus before
    list.addEventListener("mousedown", (event) => {
      event.preventDefault();
      const option = event.target.closest("[role=option]");
      if (option) accept(option);
    });
    if (input.dataset.errorAt) {
      input.focus();
      input.setSelectionRange(Number(input.dataset.errorAt), Number(input.dataset.errorAt) + 1);
    }
  }
})();
