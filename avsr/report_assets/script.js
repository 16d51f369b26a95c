"use strict";
(() => {
  const tip = document.getElementById("tip");
  const text = (tag, content) => {
    const node = document.createElement(tag);
    node.textContent = content;
    return node;
  };

  const place = (clientX, clientY) => {
    tip.hidden = false;
    tip.style.left = tip.style.top = "0"; /* its width depends on the room to its right */
    const box = tip.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    tip.style.left = Math.max(8, Math.min(clientX + 16, width - box.width - 8)) + "px";
    const below = clientY + 18;
    const top = below + box.height > innerHeight ? clientY - box.height - 14 : below;
    tip.style.top = Math.max(8, Math.min(top, innerHeight - box.height - 8)) + "px";
  };

  /* Curves: the nearest level's numbers at the pointer, or by arrow keys. */
  for (const panel of document.querySelectorAll("svg.panel")) {
    const data = JSON.parse(panel.dataset.panel);
    const cursor = panel.querySelector(".cursor");
    let at = data.x.length - 1;
    const show = (index, clientX, clientY) => {
      at = index;
      cursor.setAttribute("x1", data.x[index]);
      cursor.setAttribute("x2", data.x[index]);
      cursor.style.visibility = "visible";
      const shown = data.series
        .map((one, i) => ({ ...one, i }))
        .filter((one) => one.values[index] && !panel.querySelector(".s" + one.i).classList.contains("off"))
        .sort((a, b) => parseFloat(a.values[index][0]) - parseFloat(b.values[index][0]));
      const grid = document.createElement("div");
      for (const one of shown) {
        const [wer, low, high] = one.values[index];
        const name = text("span", one.label);
        name.className = "s" + one.i;
        grid.append(name, text("em", wer), text("i", `[${low}, ${high}]`));
      }
      tip.replaceChildren(text("b", `WER % at ${data.levels[index]}`), grid);
      place(clientX, clientY);
    };
    const hide = () => { tip.hidden = true; cursor.style.visibility = "hidden"; };
    const move = (event) => {
      const box = panel.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * panel.viewBox.baseVal.width;
      const gaps = data.x.map((one) => Math.abs(one - x));
      show(gaps.indexOf(Math.min(...gaps)), event.clientX, event.clientY);
    };
    panel.addEventListener("pointermove", move);
    panel.addEventListener("pointerdown", move);
    panel.addEventListener("pointerleave", hide);
    panel.addEventListener("blur", hide);
    panel.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      const next = Math.max(0, Math.min(data.x.length - 1, at + step));
      const box = panel.getBoundingClientRect();
      show(next, box.left + data.x[next] / panel.viewBox.baseVal.width * box.width, box.top + 40);
    });
  }

  /* Legend: show and hide; the curve whose name is pointed at stands out. */
  const panels = document.querySelector(".panels");
  const toggles = [...document.querySelectorAll(".legend .toggle")];
  const groups = (index) => document.querySelectorAll("svg.panel .s" + index);
  const turn = (button, on) => {
    button.setAttribute("aria-pressed", String(on));
    for (const group of groups(button.dataset.series)) group.classList.toggle("off", !on);
  };
  for (const button of toggles) {
    button.addEventListener("click", () => turn(button, button.getAttribute("aria-pressed") !== "true"));
  }
  for (const button of document.querySelectorAll(".legend .only")) {
    button.addEventListener("click", () => {
      for (const one of toggles) turn(one, one.dataset.series === button.dataset.series);
    });
  }
  for (const button of document.querySelectorAll("[data-all]")) {
    button.addEventListener("click", () => { for (const one of toggles) turn(one, button.dataset.all === "true"); });
  }
  for (const item of document.querySelectorAll(".legend li")) {
    const light = (on) => {
      panels.classList.toggle("spot", on);
      for (const group of groups(item.querySelector("button").dataset.series)) group.classList.toggle("lit", on);
    };
    item.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") light(true); });
    item.addEventListener("pointerleave", () => light(false));
    item.addEventListener("focusin", (event) => { if (event.target.matches(":focus-visible")) light(true); });
    item.addEventListener("focusout", () => light(false));
  }

  /* A select or radio buttons, and the parts of which one shows. */
  for (const chooser of document.querySelectorAll(".chooser")) {
    const parts = [...chooser.querySelectorAll(":scope > [data-choice]")];
    chooser.addEventListener("change", (event) => {
      if (!event.target.closest(".choose, .choices")) return;
      const from = parts.find((one) => !one.hidden);
      for (const one of parts) one.hidden = one.dataset.choice !== event.target.value;
      const to = parts.find((one) => !one.hidden);
      /* The next sound goes on where the last one was: the ear compares. */
      const [last, next] = [from, to].map((one) => one && one.querySelector("audio"));
      if (!last || last.paused) return;
      last.pause();
      if (!next) return;
      next.currentTime = last.currentTime;
      next.play();
    });
  }

  /* Confusions: the cell at the pointer, or by arrow keys. */
  for (const heat of document.querySelectorAll("svg.heat")) {
    const data = JSON.parse(heat.dataset.heat);
    const mark = heat.querySelector(".at");
    const last = data.said.length - 1;
    let [row, column] = [0, 0];
    const show = (cell, clientX, clientY) => {
      [row, column] = cell.dataset.cell.split(",").map(Number);
      const ground = cell.querySelector(".ground");
      for (const name of ["x", "y"]) mark.setAttribute(name, ground.getAttribute(name));
      mark.setAttribute("visibility", "visible");
      const [count, total] = [data.counts[row][column], data.totals[row]];
      const share = total ? `: ${(100 * count / total).toFixed(1)} %` : "";
      const what = row === last ? `Nothing said, ${data.read[column]} read`
        : column === last ? `${data.said[row]} said, nothing read` : `${data.said[row]} said, ${data.read[column]} read`;
      tip.replaceChildren(text("b", what + share), text("span", `${count} of ${total}`));
      place(clientX, clientY);
    };
    const hide = () => { tip.hidden = true; mark.setAttribute("visibility", "hidden"); };
    const move = (event) => {
      const cell = event.target.closest("[data-cell]");
      if (cell) show(cell, event.clientX, event.clientY); else hide();
    };
    heat.addEventListener("pointermove", move);
    heat.addEventListener("pointerdown", move);
    heat.addEventListener("pointerleave", hide);
    heat.addEventListener("blur", hide);
    heat.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      const first = mark.getAttribute("visibility") === "hidden";
      const inside = (one) => Math.max(0, Math.min(last, one));
      const [r, c] = first ? [row, column] : [inside(row + step[0]), inside(column + step[1])];
      const cell = heat.querySelector(`[data-cell="${r},${c}"]`);
      if (!cell) return;
      cell.scrollIntoView({ block: "nearest", inline: "nearest" });
      const box = cell.getBoundingClientRect();
      show(cell, box.right, box.bottom);
    });
  }

  /* Safari plays blobs but not data: films; elsewhere a blob seeks faster. */
  for (const media of document.querySelectorAll("video[src^='data:'], audio[src^='data:']")) {
    const [head, body] = media.src.split(",", 2);
    const bytes = Uint8Array.from(atob(body), (one) => one.charCodeAt(0));
    media.src = URL.createObjectURL(new Blob([bytes], { type: head.slice(5).split(";")[0] }));
  }

  /* One thing sounds at a time. */
  const quiet = (one) => document.dispatchEvent(new CustomEvent("sample-start", { detail: one }));
  for (const audio of document.querySelectorAll("audio")) {
    audio.addEventListener("play", () => quiet(audio));
    document.addEventListener("sample-start", (event) => { if (event.detail !== audio) audio.pause(); });
  }

  /* Two films, one clock: the first leads, the others are pulled along. */
  for (const sample of document.querySelectorAll(".sample")) {
    const videos = [...sample.querySelectorAll("video")];
    const button = sample.querySelector(".play");
    if (!videos.length || !button) continue;
    const seek = sample.querySelector(".controls input");
    const clock = sample.querySelector(".controls output");
    const sound = sample.querySelector(".controls select");
    const lead = videos[0];
    let running = false;
    const length = () => Math.min(...videos.map((one) => one.duration || 0));
    const paint = () => {
      seek.value = length() ? String(lead.currentTime / length() * 1000) : "0";
      clock.textContent = `${lead.currentTime.toFixed(1)} / ${length().toFixed(1)} s`;
    };
    const follow = () => {
      for (const one of videos.slice(1)) {
        const ahead = one.currentTime - lead.currentTime;
        if (Math.abs(ahead) > 0.12) one.currentTime = lead.currentTime;
        one.playbackRate = Math.abs(ahead) < 0.01 ? 1 : Math.max(0.9, Math.min(1.1, 1 - 2 * ahead));
      }
      paint();
      if (running && (lead.ended || lead.currentTime >= length() - 0.01)) stop();
      if (running) requestAnimationFrame(follow);
    };
    const stop = () => {
      running = false;
      for (const one of videos) one.pause();
      button.textContent = "Play";
    };
    const start = async () => {
      quiet(sample);
      if (lead.currentTime >= length() - 0.05) lead.currentTime = 0;
      for (const one of videos) one.currentTime = lead.currentTime;
      running = true;
      button.textContent = "Pause";
      try {
        await Promise.all(videos.map((one) => one.play()));
      } catch (error) {
        if (error.name !== "AbortError") clock.textContent = "This browser refused to play: " + error.name;
        stop();
        return;
      }
      requestAnimationFrame(follow);
    };
    button.addEventListener("click", () => (running ? stop() : start()));
    document.addEventListener("sample-start", (event) => { if (event.detail !== sample && running) stop(); });
    seek.addEventListener("input", () => {
      for (const one of videos) one.currentTime = Number(seek.value) / 1000 * length();
      paint();
    });
    const listen = () => videos.forEach((one, i) => { one.muted = String(i) !== (sound ? sound.value : "0"); });
    if (sound) sound.addEventListener("change", listen);
    listen();
    for (const one of videos) one.addEventListener("loadedmetadata", paint);
  }
})();
